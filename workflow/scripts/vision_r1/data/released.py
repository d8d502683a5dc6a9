"""The authors' released training set, unpacked: image files with names, and one readable question per line.

Read: Arrow shards as `datasets` saves them, or Parquet files, with columns image (a struct with bytes, or bytes),
problem, solution (JSON list of [label, box] or [label, [box, ...]], a box being x1 y1 x2 y2 in pixels of the original
image), width, height, num_instances and, where it is there, target_id_maps (JSON object, name -> id, 0 for background).
"""

import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from vision_r1.data.images import ImageFault, open_image
from vision_r1.data.samples import GivenSample, Object
from vision_r1.files import UserError

REQUIRED = ("image", "problem", "solution", "width", "height", "num_instances")
OPTIONAL = "target_id_maps"
# Kind of question, and the words before and after its names: first Griffon's, in which the set was published, then
# Qwen's, into which the released code rewrites them. The last wording asks for a category or a phrase alike.
WORDINGS = (
    (
        "detection",
        "Examine the image for any objects from the category set. Report the coordinates of each detected object. "
        "The category set includes ",
        ".",
    ),
    ("grounding", "Locate the exact position of ", " in the picture, if you can."),
    ("rec", "Can you point out ", " in the image and provide the coordinates of its location?"),
    (
        "detection",
        "Locate every item from the category list in the image and output the coordinates in JSON format. "
        "The category set includes ",
        ".",
    ),
    ("either", "Locate every ", " in the image and output the coordinates in JSON format."),
)


def shards(files: Iterable[str]) -> list[str]:
    """Return which of a data set's files hold its rows: Arrow shards or, where there are none, Parquet files."""
    names = sorted(file for file in files if not Path(file).name.startswith("cache-"))
    arrow = [name for name in names if name.endswith(".arrow")]
    return arrow or [name for name in names if name.endswith(".parquet")]


def check_rows(file: Path, count: int) -> None:
    """Raise UserError, as read_released does, where one of a file's first rows is not of the form above."""
    for number, row in zip(range(1, count + 1), _rows(file), strict=False):
        where = f"{file}: row {number}"
        _question(row, where)
        _content(row, where)


def read_released(files: Sequence[Path], images: Path) -> list[GivenSample]:
    """Write each image once, named by its content, into the folder `images`, and return the rows as questions.

    The question's words are left out: a model is asked in its own. Qwen's words don't tell a category from a phrase:
    it is a category where a category list of the set has it, or where it has several objects. Raises UserError naming
    file, row and text for what is not of the form above.
    """
    if not files:
        raise UserError(f"{images.parent}: neither Arrow shards nor Parquet files; is this the released data set?")
    read = []
    for file in files:
        for number, row in enumerate(_rows(file), start=1):
            where = f"{file}: row {number}"
            asked, names, objects = _question(row, where)
            name = _write_image(_content(row, where), images, where)
            read.append(GivenSample(name, row["width"], row["height"], asked, names, objects))
    listed = {name.casefold() for sample in read if sample.asked == "detection" for name in sample.categories}
    return [_decided(sample, listed) for sample in read]


def _decided(sample: GivenSample, listed: set[str]) -> GivenSample:
    if sample.asked != "either":
        return sample
    category = len(sample.objects) != 1 or sample.categories[0].casefold() in listed
    asked = "grounding" if category else "rec"
    return msgspec.structs.replace(sample, asked=asked)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow

    try:
        with _opened(file) as (schema, batches):
            missing = sorted(set(REQUIRED) - set(schema.names))
            if missing:
                raise UserError(f"{file}: no column {missing[0]!r}; is this the released data set?")
            columns = [name for name in (*REQUIRED, OPTIONAL) if name in schema.names]
            for batch in batches:
                for start in range(0, batch.num_rows, 64):  # so that few images are in memory twice
                    yield from batch.slice(start, 64).select(columns).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file}: can't be read ({error}); delete it and fetch it again") from None


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Iterable[Any]]]:
    """Yield the schema and the record batches of a Parquet file, an Arrow stream or an Arrow file."""
    import pyarrow
    import pyarrow.parquet as parquet

    if file.suffix == ".parquet":
        with parquet.ParquetFile(file) as opened:
            yield opened.schema_arrow, opened.iter_batches(64)
        return
    with pyarrow.memory_map(str(file)) as content:
        if content.read(6) == b"ARROW1":
            with pyarrow.ipc.open_file(content) as opened:
                yield opened.schema, (opened.get_batch(place) for place in range(opened.num_record_batches))
        else:
            content.seek(0)
            with pyarrow.ipc.open_stream(content) as opened:
                yield opened.schema, opened


def _question(row: dict[str, Any], where: str) -> tuple[str, tuple[str, ...], tuple[Object, ...]]:
    """Return how a row asks, for which names, and the objects that answer."""
    for name in ("width", "height", "num_instances"):
        if not isinstance(row[name], int) or row[name] < (name != "num_instances"):
            raise UserError(f"{where}: {name} {row[name]!r} must be a positive whole number")
    text = " ".join(str(row["problem"]).replace("<image>", " ").split())
    objects = _objects(row["solution"], where)
    if row["num_instances"] == 0 and objects:
        raise UserError(f"{where}: num_instances is 0, but solution has {len(objects)} boxes")
    for asked, before, after in WORDINGS:
        if text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after):
            inside = text.removeprefix(before).removesuffix(after)
            known = {item.label for item in objects} | _categories(row.get(OPTIONAL), where)
            return asked, _names(asked, inside, known, objects, where), objects
    raise UserError(
        f"{where}: problem {text[:200]!r} is in none of the known wordings; add it to WORDINGS in "
        "workflow/scripts/vision_r1/data/released.py"
    )


def _names(asked: str, text: str, known: set[str], objects: Sequence[Object], where: str) -> tuple[str, ...]:
    """Return the names that a question lists; a phrase is one name, unless it is a list of known categories."""
    if asked == "rec":
        return (text,)
    names = split_names(text, frozenset(known))
    listed = {name.casefold() for name in names}
    if asked != "detection":
        return names if listed <= {name.strip().casefold() for name in known} else (text,)
    for item in objects:
        if item.label.strip().casefold() not in listed:
            raise UserError(f"{where}: label {item.label!r} is not in the category list {text[:200]!r}")
    return names


def split_names(text: str, known: frozenset[str]) -> tuple[str, ...]:
    """Split "a, b, c and d" into names. Known ones are found whole, although they may hold a comma or "and"."""
    return tuple(name.strip() for name in _list_pattern(known).findall(text) if name.strip())


@lru_cache(1024)
def _list_pattern(known: frozenset[str]) -> re.Pattern[str]:
    names = sorted({name.strip() for name in known if name.strip()}, key=lambda name: (-len(name), name))
    whole = "".join(rf"{re.escape(name)}(?=,| and |$)|" for name in names)
    # An unknown name ends at a comma, or at the "and" before the last one.
    return re.compile(rf"({whole}.+?(?=,? and [^,]*$|, |$))(?:,? and |, |,?$)", re.IGNORECASE)


def _objects(solution: Any, where: str) -> tuple[Object, ...]:
    objects = []
    try:
        for label, boxes in json.loads(solution):
            if not isinstance(boxes, list):
                raise ValueError("no list")
            for box in boxes if not boxes or isinstance(boxes[0], list) else [boxes]:
                if not isinstance(box, list) or not all(type(value) in (int, float) for value in box):
                    raise ValueError("no list of numbers")
                x1, y1, x2, y2 = map(float, box)
                if not all(map(math.isfinite, (x1, y1, x2, y2))):
                    raise ValueError("not a number")
                objects.append(Object(str(label), (x1, y1, x2, y2)))
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise UserError(
            f"{where}: solution {str(solution)[:200]!r} is not a list of [label, [x1, y1, x2, y2]] or "
            "[label, [[x1, y1, x2, y2], ...]]"
        ) from None
    return tuple(objects)


def _categories(text: Any, where: str) -> set[str]:
    """Return the names of target_id_maps but for the background, none where it is empty."""
    try:
        return {str(name) for name, number in json.loads(text or "{}").items() if int(number)}
    except (TypeError, ValueError, OverflowError, AttributeError):
        raise UserError(f"{where}: target_id_maps {str(text)[:200]!r} is not a JSON object of names and ids") from None


def _content(row: dict[str, Any], where: str) -> bytes:
    content = row["image"].get("bytes") if isinstance(row["image"], dict) else row["image"]
    if not isinstance(content, bytes):
        raise UserError(f"{where}: image: no bytes")
    return content


def _write_image(content: bytes, folder: Path, where: str) -> str:
    try:
        with open_image(io.BytesIO(content)) as image:
            kind = str(image.format).lower().replace("jpeg", "jpg")
    except ImageFault as fault:
        raise UserError(f"{where}: image: not readable ({fault})") from None
    name = f"{hashlib.sha256(content).hexdigest()[:24]}.{kind}"
    if not (folder / name).exists():
        (folder / name).write_bytes(content)
    return name
