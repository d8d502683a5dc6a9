"""CSV: one box per line, with columns filename, class, xmin, ymin, xmax, ymax, and maybe the image's width and height.

TensorFlow's tutorials and Roboflow write it so. Columns may have other usual names, and stand in any order.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from vision_r1.data.formats.folder import ImageFolder
from vision_r1.data.formats.labelled import Corners, Labelled, LabelledImage, read_number, read_size
from vision_r1.files import UserError, read_text

COLUMNS = {
    "file": ("filename", "file_name", "file", "image", "image_path", "path", "image_id"),
    "label": ("class", "label", "class_name", "category", "name"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
    "width": ("image_width", "width"),
    "height": ("image_height", "height"),
}
CORNERS = ("xmin", "ymin", "xmax", "ymax")
NEEDED = ("file", "label", *CORNERS)


def read(annotations: Path, images: Path) -> Labelled:
    """Read a table. A line with a file and nothing else is an image without objects.

    Lines about files that aren't there are left out. Category names are sorted. Raises UserError naming the line.
    """
    rows = _rows(annotations)
    header = rows[0][1] if rows else []
    columns = _columns(annotations, header)
    boxes: dict[str, list[tuple[str, Corners]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for number, row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        cells = {key: row[place].strip() if place < len(row) else "" for key, place in columns.items()}
        where = f"{annotations}: line {number}"
        if any(cell.strip() for cell in row[len(header) :]):
            raise UserError(
                f"{where}: {len(row)} fields, but {len(header)} columns; put a text with the delimiter into quotes"
            )
        if not cells["file"]:
            raise UserError(f"{where}: no file name")
        own = boxes.setdefault(cells["file"], [])
        if any(cells[key] for key in NEEDED[1:]):
            own.append(_box(where, cells))
        size = read_size(cells.get("width"), cells.get("height"))
        if size != (0, 0) and sizes.setdefault(cells["file"], size) != size:
            raise UserError(f"{where}: {cells['file']} is {size[0]} x {size[1]} here, and not in an earlier line")
    notes: Counter = Counter()
    folder = ImageFolder(images)
    files = folder.resolve(annotations, [(name,) for name in boxes], notes)
    found = []
    for name, file in zip(boxes, files, strict=True):
        if file is not None:
            found.append(LabelledImage(file, *(sizes.get(name) or folder.size(file, notes)), tuple(boxes[name])))
    return Labelled(sorted({label for image in found for label, _ in image.boxes}), found, notes)


def _rows(source: Path) -> list[tuple[int, list[str]]]:
    """Return the number of each line and its cells; the header decides the delimiter, unless Excel's `sep=;` does."""
    text, skipped = read_text(source), 0
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    if excel := re.match(r"sep=(.)\r?\n", text):
        delimiter, text, skipped = excel[1], text[excel.end() :], 1
    # Strict: an unclosed quotation mark would otherwise swallow the lines after it.
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num + skipped, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{source}: line {reader.line_num + skipped}: not CSV ({error})") from None


def _columns(source: Path, header: Sequence[str]) -> dict[str, int]:
    """Return where each column is. Raises UserError for one that is missing, or there twice."""
    cells = [cell.strip().casefold() for cell in header]
    places = {cell: place for place, cell in enumerate(cells)}
    found = {key: next((places[name] for name in names if name in places), None) for key, names in COLUMNS.items()}
    if missing := [key for key in NEEDED if found[key] is None]:
        raise UserError(
            f"{source}: line 1: no column {' or '.join(COLUMNS[missing[0]])}; the first line has to name the columns "
            "filename, class, xmin, ymin, xmax, ymax"
        )
    if twice := [cells[place] for place in found.values() if place is not None and cells.count(cells[place]) > 1]:
        raise UserError(f"{source}: line 1: two columns {twice[0]}; rename the one that doesn't count")
    return {key: place for key, place in found.items() if place is not None}


def _box(where: str, cells: dict[str, str]) -> tuple[str, Corners]:
    if not cells["label"]:
        raise UserError(f"{where}: no class")
    corners = tuple(read_number(cells[key]) for key in CORNERS)
    if None in corners:
        raise UserError(f"{where}: not numbers: {', '.join(f'{key} {cells[key]!r}' for key in CORNERS)}")
    return cells["label"], corners
