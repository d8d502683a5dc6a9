"""CSV: one box per line, with columns filename, class, xmin, ymin, xmax, ymax, and maybe the image's width and height.

TensorFlow's tutorials and Roboflow write it so. Columns may have other usual names, and stand in any order.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath

from vision_r1.data.formats.labelled import Corners, Labelled, LabelledImage, read_number, read_size
from vision_r1.data.image_folder import ImageFolder
from vision_r1.data.images import image_suffixes
from vision_r1.files import UserError, read_text

COLUMNS = {
    "file": ("filename", "file_name", "image_name", "file", "image", "image_path", "path", "image_id"),
    "label": ("class", "label", "class_name", "label_name", "category", "name"),
    "xmin": ("xmin", "x_min", "x1", "left"),
    "ymin": ("ymin", "y_min", "y1", "top"),
    "xmax": ("xmax", "x_max", "x2", "right"),
    "ymax": ("ymax", "y_max", "y2", "bottom"),
    "place": ("image_path", "file_path", "filepath", "path", "folder", "directory", "dir"),
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
    notes: Counter = Counter()
    columns = _columns(annotations, header, [row for _, row in rows[1:]], notes)
    lines = []
    for number, row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{annotations}: line {number}"
        if any(cell.strip() for cell in row[len(header) :]):
            raise UserError(
                f"{where}: {len(row)} fields, but {len(header)} columns; put a text with the delimiter into quotes"
            )
        lines.append((where, {key: row[at].strip() if at < len(row) else "" for key, at in columns.items()}))
    wholes: dict[str, dict[str, str]] = {}
    for _, cells in lines:
        if (whole := _with_folders(cells)) != cells["file"]:
            wholes.setdefault(cells["file"], {}).setdefault(whole.casefold(), whole)
    # Images of several folders may have one name. Where no two have, the place may be any machine's.
    several = any(len(own) > 1 for own in wholes.values())
    boxes: dict[tuple[str, ...], list[tuple[str, Corners]]] = {}
    sizes: dict[tuple[str, ...], tuple[int, int]] = {}
    for where, cells in lines:
        if not cells["file"]:
            raise UserError(f"{where}: no file name")
        known = wholes.get(cells["file"], {})
        own = _with_folders(cells)
        whole = next(iter(known.values())) if len(known) == 1 else known.get(own.casefold(), own)
        name = (whole,) if several else (cells["file"], whole)
        labelled = boxes.setdefault(name, [])
        if any(cells[key] for key in NEEDED[1:]):
            labelled.append(_box(where, cells))
        size = read_size(cells.get("width"), cells.get("height"))
        if size != (0, 0) and sizes.setdefault(name, size) != size:
            raise UserError(f"{where}: {cells['file']} is {size[0]} x {size[1]} here, and not in an earlier line")
    folder = ImageFolder(images)
    files = folder.resolve(annotations, list(boxes), notes)
    found = []
    for name, file in zip(boxes, files, strict=True):
        if file is not None:
            found.append(LabelledImage(file, *(sizes.get(name) or folder.size(file, notes)), tuple(boxes[name])))
    return Labelled(sorted({label for image in found for label, _ in image.boxes}), found, notes)


def _with_folders(cells: dict[str, str]) -> str:
    """Return an image's name with the folders that a line has in a column of their own, in its path or alone."""
    name, place = (cells.get(key, "").replace("\\", "/") for key in ("file", "place"))
    ending = PurePosixPath(place).suffix
    if name and f"/{place}".endswith((f"/{name}", f"/{name}{ending}")):
        return place
    # A path to another file, such as the image before it was renamed, tells nothing.
    is_folder = place and "/" not in name and ending.lower() not in image_suffixes()
    return f"{place.rstrip('/')}/{name}" if is_folder else cells["file"]


def _rows(source: Path) -> list[tuple[int, list[str]]]:
    """Return the number of each line and its cells; the header decides the delimiter, unless Excel's `sep=;` does."""
    text, skipped = read_text(source), 0
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    if excel := re.match(r"sep=(.)\r?\n", text):
        delimiter, text, skipped = excel[1], text[excel.end() :], 1
    # Strict: an unclosed quotation mark would otherwise swallow the lines after it.
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        return [(reader.line_num + skipped, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{source}: line {reader.line_num + skipped}: not CSV ({error})") from None


def _columns(source: Path, header: Sequence[str], rows: Sequence[Sequence[str]], notes: Counter) -> dict[str, int]:
    """Return where each column is. Raises UserError for one that is missing, or there twice.

    Of several columns that may have the classes, one that has only numbers is left for one that has their names.
    """
    cells = [cell.strip().casefold() for cell in header]
    places = {cell: place for place, cell in enumerate(cells)}
    found = {key: next((places[name] for name in names if name in places), None) for key, names in COLUMNS.items()}
    named = [places[name] for name in COLUMNS["label"] if name in places]
    fits = {place: _are_names(rows, named[0], place) for place in named[1:]}
    if fitting := [place for place in fits if fits[place]]:
        found["label"] = fitting[0]
        notes[f"class names from column {cells[fitting[0]]}, as {cells[named[0]]} has none"] = 1
    elif unfit := [place for place in fits if fits[place] is False]:
        notes[f"classes that stay numbers, as column {cells[unfit[0]]} has no name for each"] = 1
    if missing := [key for key in NEEDED if found[key] is None]:
        raise UserError(
            f"{source}: line 1: no column {' or '.join(COLUMNS[missing[0]])}; the first line has to name the columns "
            "filename, class, xmin, ymin, xmax, ymax"
        )
    if twice := [cells[place] for place in found.values() if place is not None and cells.count(cells[place]) > 1]:
        raise UserError(f"{source}: line 1: two columns {twice[0]}; rename the one that doesn't count")
    return {key: place for key, place in found.items() if place is not None}


def _are_names(rows: Sequence[Sequence[str]], numbers: int, names: int) -> bool | None:
    """Tell whether a column has a name of its own for each number of another; None where they aren't names and numbers.

    The numbers may all be left out.
    """
    pairs = {tuple(row[at].strip().casefold() if at < len(row) else "" for at in (numbers, names)) for row in rows}
    pairs.discard(("", ""))  # of an image without objects
    firsts, seconds = ({pair[at] for pair in pairs} for at in (0, 1))
    if not _are_numbers(firsts) or _are_numbers(seconds):
        return None
    return "" not in seconds and (firsts == {""} or len(firsts - {""}) == len(pairs) == len(seconds))


def _are_numbers(cells: Iterable[str]) -> bool:
    return all(read_number(cell) is not None for cell in cells if cell)


def _box(where: str, cells: dict[str, str]) -> tuple[str, Corners]:
    if not cells["label"]:
        raise UserError(f"{where}: no class")
    corners = tuple(read_number(cells[key]) for key in CORNERS)
    if None in corners:
        raise UserError(f"{where}: not numbers: {', '.join(f'{key} {cells[key]!r}' for key in CORNERS)}")
    return cells["label"], corners
