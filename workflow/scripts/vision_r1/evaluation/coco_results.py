"""COCO results files in the forms that tools write: entries {image_id, category_id, bbox [x, y, width, height], score}.

Accepted: a list, an object that holds the list as `annotations`, or one entry per line; a byte order mark, gzip; ids
written as 1.0 or as text. What is not read as it is written is counted in the log.
"""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vision_r1.data.coco import CocoDataset
from vision_r1.data.coco_file import told
from vision_r1.data.oddities import in_words, oddities, too_many
from vision_r1.data.reading import whole_number
from vision_r1.evaluation.coco_ap import Detection
from vision_r1.evaluation.predictions import is_number
from vision_r1.files import UserError, read_json, read_jsonl, read_text
from vision_r1.parsing import MAX_COORDINATE

log = logging.getLogger(__name__)

_FIELDS = ("image_id", "category_id", "bbox", "score")


def read_entries(source: str | Path) -> list[Any] | None:
    """Return the entries of a COCO results file, unchecked; None where the file has another kind of lines.

    Raises UserError for a file that is empty, can't be read, or holds an object of another kind.
    """
    text = read_text(source).lstrip()
    if not text:
        raise UserError(f"{source}: the file is empty; results without a box are []")
    if text.startswith("["):
        return read_json(source)
    first = _json(text.partition("\n")[0])
    if isinstance(first, Mapping) and {"category_id", "bbox"} <= first.keys():
        return read_jsonl(source)
    if isinstance(first, Mapping) and "annotations" not in first:
        return None
    content = _json(text)
    if content is None:
        return None
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        keys = ", ".join(list(content)[:5]) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(f"{source}: neither COCO results (a list) nor predictions (an object per line): has {keys}")
    return content["annotations"]


def read_detections(source: str | Path, entries: Sequence[Any], dataset: CocoDataset) -> list[Detection]:
    """Return the detections of a results file's entries.

    Left out are those of entries that are not categories (CocoDataset.dropped), and those that repeat a box under
    another id of the same image. Raises UserError, naming the item, for an entry that is no detection, or whose image
    or category is unknown.
    """
    sizes = {image.id: (image.width, image.height) for image in dataset.images}
    known = {
        "image_id": sizes.keys() | dataset.merged.keys(),
        "category_id": dataset.categories.keys() | dataset.dropped,
    }
    notes: Counter = Counter()
    detections = []
    for number, entry in enumerate(entries):
        where = f"{source}: item {number}"
        if not isinstance(entry, Mapping):
            raise UserError(f"{where}: not an object")
        if missing := set(_FIELDS) - entry.keys():
            raise UserError(f"{where}: no field {min(missing)!r}")
        ids = {key: whole_number(entry[key], notes) for key in known}
        for key, number in ids.items():
            if type(number) is not int or number not in known[key]:
                raise UserError(f"{where}: {key} {entry[key]!r} is not in {dataset.source}")
        box = entry["bbox"]
        numbers = [*box, entry["score"]] if isinstance(box, list) else []
        if not (len(numbers) == 5 and all(is_number(value) and abs(value) < MAX_COORDINATE for value in numbers)):
            raise UserError(f"{where}: bbox {box!r} and score {entry['score']!r} are not four numbers and one")
        if ids["category_id"] in dataset.dropped:
            notes["boxes of entries that are not categories, left out"] += 1
            continue
        image = dataset.merged.get(ids["image_id"], ids["image_id"])
        detections.append(Detection(image, ids["category_id"], tuple(map(float, box)), float(entry["score"])))
    if dataset.merged:
        detections = _without_repeats(detections, set(dataset.merged.values()), notes)
    if notes:
        log.warning("%s: read as meant: %s", source, told(notes))
    _warn_of_oddities(source, detections, sizes)
    return detections


def _without_repeats(detections: Sequence[Detection], images: set[int], notes: Counter) -> list[Detection]:
    """Return detections, of which those in `images` are kept once each."""
    own = [detection for detection in detections if detection.image_id in images]
    others = [detection for detection in detections if detection.image_id not in images]
    once = list(dict.fromkeys(own))
    if len(once) < len(own):
        notes["boxes repeated under another id of a file, left out"] = len(own) - len(once)
    return [*others, *once]


def _warn_of_oddities(
    source: str | Path, detections: Sequence[Detection], sizes: Mapping[int, tuple[int, int]]
) -> None:
    if not detections:
        return
    corners = np.array([detection.bbox for detection in detections])
    corners[:, 2:] += corners[:, :2]
    found = oddities(corners, np.array([sizes[detection.image_id] for detection in detections]))
    if too_many(found, len(detections)):
        for sentence in in_words(found, len(detections)):
            log.warning("%s: %s", source, sentence)


def _json(text: str) -> Any:
    """Return the value of a JSON text, None where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
