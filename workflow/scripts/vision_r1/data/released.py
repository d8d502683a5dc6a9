"""The authors' released training set, opened up: image files with names, and one readable line a question.

Read: parquet files with columns image, problem, solution (JSON list of [label, [x1, y1, x2, y2]] in pixels of the
original image), width and height, as on the hub (JefferyZhan/Vision-R1-Data).
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vision_r1.data.images import FAULTS
from vision_r1.data.sources import GivenSample, Object
from vision_r1.files import UserError

COLUMNS = ("image", "problem", "solution", "width", "height")


def read_released(files: Sequence[Path], images: Path) -> Iterator[GivenSample]:
    """Write each image once, named by its content, into the folder `images`, and yield the rows as questions.

    Raises UserError naming file, row and field for what is not of the form above.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    if not files:
        raise UserError(f"{images.parent}: no parquet files; is this the released data set?")
    for file in files:
        try:
            with parquet.ParquetFile(file) as opened:
                missing = sorted(set(COLUMNS) - set(opened.schema_arrow.names))
                if missing:
                    raise UserError(f"{file}: no column {missing[0]!r}; is this the released data set?")
                rows = (row for batch in opened.iter_batches(64, columns=list(COLUMNS)) for row in batch.to_pylist())
                for number, row in enumerate(rows, start=1):
                    yield _sample(row, images, f"{file}: row {number}")
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"{file}: can't be read ({error}); delete it and fetch it again") from None


def _sample(row: dict[str, Any], folder: Path, where: str) -> GivenSample:
    content = row["image"].get("bytes") if isinstance(row["image"], dict) else row["image"]
    if not isinstance(content, bytes):
        raise UserError(f"{where}: image: no bytes")
    prompt = str(row["problem"]).replace("<image>", "").strip()
    objects = []
    try:
        for label, box in json.loads(row["solution"]):
            x1, y1, x2, y2 = map(float, box)
            objects.append(Object(str(label), (x1, y1, x2, y2)))
    except (TypeError, ValueError):
        raise UserError(
            f"{where}: solution {str(row['solution'])[:80]!r} is no list of [label, [x1, y1, x2, y2]]"
        ) from None
    name = _write_image(content, folder, where)
    return GivenSample(name, int(row["width"]), int(row["height"]), prompt, tuple(objects))


def _write_image(content: bytes, folder: Path, where: str) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = str(image.format).lower().replace("jpeg", "jpg")
    except FAULTS as error:
        raise UserError(f"{where}: image: not readable ({error})") from None
    name = f"{hashlib.sha256(content).hexdigest()[:24]}.{kind}"
    if not (folder / name).exists():
        (folder / name).write_bytes(content)
    return name
