"""COCO results files in the forms that tools write: entries {image_id, category_id, bbox [x, y, width, height], score}.

Accepted: a list, an object that holds the list as `annotations`, or one entry per line; a byte order mark, gzip; ids
written as 1.0, numbers as text; as an image's id the name of its file, with or without its ending (Ultralytics).
What is not read as it is written is counted in the log.
"""

import json
import logging
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vision_r1.boxes import iou
from vision_r1.data.coco import CocoDataset
from vision_r1.data.coco_file import told
from vision_r1.data.oddities import in_words, oddities, too_many
from vision_r1.data.reading import any_number, whole_number
from vision_r1.evaluation.coco_ap import Detection
from vision_r1.evaluation.predictions import is_number
from vision_r1.files import UserError, read_json, read_jsonl, read_text
from vision_r1.parsing import MAX_COORDINATE

log = logging.getLogger(__name__)

SAMPLE = 1000  # detections that are compared with the ground truth in both readings
_FIELDS = ("image_id", "category_id", "bbox", "score")
_REMEDIES = {
    "image_id": "give the id that its image has there, or the name of the image's file",
    "category_id": "give the id that its category has there",
}


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
    if isinstance(first, Mapping) and "completion" in first:
        return None
    content = _json(text)
    if content is None:
        return None
    if not isinstance(content, Mapping) or not isinstance(content.get("annotations"), list):
        keys = ", ".join(list(content)[:5]) if isinstance(content, Mapping) else type(content).__name__
        raise UserError(
            f"{source}: neither COCO results (a list, alone or as `annotations`, or an entry per line) nor predictions "
            f"(an object with a completion per line): has {keys}"
        )
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
    named = _by_name(dataset.file_names)
    numbered = _by_number(source, entries, known["image_id"], named)
    detections = []
    for number, entry in enumerate(entries):
        where = f"{source}: item {number}"
        if not isinstance(entry, Mapping):
            raise UserError(f"{where}: not an object")
        if missing := set(_FIELDS) - entry.keys():
            raise UserError(f"{where}: no field {min(missing)!r}")
        ids = {key: whole_number(entry[key], notes) for key in known}
        name = ids["image_id"]
        image = named.get(_form(name)) if isinstance(name, str) else numbered.get(name) if type(name) is int else None
        if image is not None:
            ids["image_id"] = image
            notes["images given by their file's name"] += 1
        for key, number in ids.items():
            if type(number) is not int or number not in known[key]:
                raise UserError(f"{where}: {key} {entry[key]!r} is not in {dataset.source}; {_REMEDIES[key]}")
        box = entry["bbox"]
        if isinstance(box, list):
            box = [any_number(value, notes) for value in box]
        score = any_number(entry["score"], notes)
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_usable, box))):
            raise UserError(f"{where}: bbox {box!r} is not four numbers below {MAX_COORDINATE:g}")
        if not _is_usable(score):
            raise UserError(f"{where}: score {entry['score']!r} is not a number")
        if ids["category_id"] in dataset.dropped:
            notes["boxes of entries that are not categories, left out"] += 1
            continue
        image = dataset.merged.get(ids["image_id"], ids["image_id"])
        detections.append(Detection(image, ids["category_id"], tuple(map(float, box)), float(score)))
    if dataset.merged:
        detections = _without_repeats(detections, set(dataset.merged.values()), notes)
    if notes:
        log.warning("%s: read as meant: %s", source, told(notes))
    _warn_of_oddities(source, detections, sizes)
    _warn_of_corners(source, detections[:SAMPLE], dataset)
    return detections


def _by_name(file_names: Mapping[int, str]) -> dict[str, int]:
    """Return images' ids by the name of their file, and by that without its ending, where just one image has it."""
    found: dict[str, set[int]] = defaultdict(set)
    for number, name in file_names.items():
        path = PurePosixPath(name.replace("\\", "/"))
        for each in (path.name, path.stem):
            found[_form(each)].add(number)
    return {name: numbers.pop() for name, numbers in found.items() if len(numbers) == 1}


def _by_number(source: str | Path, entries: Sequence[Any], ids: Set[int], named: Mapping[str, int]) -> dict[int, int]:
    """Return images' ids by the number that is their file's name, where the results' numbers are those, and no ids.

    Ultralytics writes the number where the name is one, and the name where not. Where both may be meant, a number is
    an id, with a warning if the other reading differs.
    """
    shared = Counter(int(name) for name in named if name.isdecimal())  # 9.jpg and 009.jpg
    files = {int(name): number for name, number in named.items() if name.isdecimal() and shared[int(name)] == 1}
    numbers = (whole_number(entry.get("image_id"), Counter()) for entry in entries if isinstance(entry, Mapping))
    asked = {number for number in numbers if type(number) is int}
    if not asked or not asked <= files.keys():
        return {}
    if asked - ids:
        return files
    if others := [number for number in asked if files[number] != number]:
        log.warning("%s: image_id %d is taken for an image's id, not for the name of its file", source, min(others))
    return {}


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name)


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


def _warn_of_corners(source: str | Path, detections: Sequence[Detection], dataset: CocoDataset) -> None:
    """Warn where boxes fit objects of their category much better if their numbers are read as x1 y1 x2 y2."""
    images, truth = {detection.image_id for detection in detections}, defaultdict(list)
    for image in dataset.images:
        for item in image.objects if image.id in images else ():
            truth[image.id, item.category_id].append(item.corners)
    fits = []
    for detection in detections:
        if objects := truth.get((detection.image_id, detection.category_id)):
            x, y, width, height = detection.bbox
            readings = np.array([(x, y, x + width, y + height), detection.bbox])
            fits.append(iou(readings, np.array(objects)).max(axis=1))
    meant, corners = np.mean(fits, axis=0) if fits else (0, 0)
    if corners > max(0.5, 1.5 * meant):
        log.warning(
            f"{source}: read as x1 y1 x2 y2, boxes have a mean IoU of {corners:.2f} with the nearest object; as "
            f"x y width height, which COCO results have, of {meant:.2f}"
        )


def _is_usable(value: Any) -> bool:
    return is_number(value) and abs(value) < MAX_COORDINATE


def _json(text: str) -> Any:
    """Return the value of a JSON text, None where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
