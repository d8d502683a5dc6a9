"""Predictions files: the lines of predict_suite.py, checked against their data set."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vision_r1.data.coco import CocoDataset
from vision_r1.evaluation.protocols import Reading, asked_names
from vision_r1.files import UserError, read_jsonl
from vision_r1.frames import Frame
from vision_r1.parsing import label_key

Line = Mapping[str, Any]

UNKNOWN = (0, 0)  # the size of an image whose annotations have none

_FIELDS = {
    **dict.fromkeys(("dataset", "protocol", "completion", "frame"), str),
    **dict.fromkeys(("image_id", "width", "height", "input_width", "input_height"), int),
    **{"categories": list, "truncated": bool},
}


def read_lines(source: str | Path) -> list[Line]:
    """Read lines of predict_suite.py. Raises UserError, naming the line, for one of another form."""
    lines = read_jsonl(source)
    for number, line in enumerate(lines, start=1):
        where = f"{source}: line {number}"
        if not isinstance(line, Mapping):
            raise UserError(f"{where}: not an object; predict the suite again")
        if missing := _FIELDS.keys() - line.keys():
            raise UserError(f"{where}: no field {min(missing)!r}; predict the suite again")
        for key, kind in _FIELDS.items():
            if type(line[key]) is not kind:
                raise UserError(f"{where}: {key} {line[key]!r} is not of type {kind.__name__}; predict the suite again")
        if not (all(isinstance(name, str) for name in line["categories"]) and _are_tokens(line.get("tokens", []))):
            raise UserError(f"{where}: invalid categories or tokens; predict the suite again")
        try:
            Frame.of(line)
        except ValueError as error:
            raise UserError(f"{where}: {error}; predict the suite again") from None
    return lines


def select(lines: Sequence[Line], source: str | Path, dataset: str | None, protocol: str | None) -> list[Line]:
    """Return the lines of one data set and protocol. Raises UserError where the names leave several, or no lines."""
    kept = list(lines)
    for key, wanted in (("dataset", dataset), ("protocol", protocol)):
        names = list(dict.fromkeys(line[key] for line in kept))
        if wanted is not None:
            kept = [line for line in kept if line[key] == wanted]
        if (wanted is None and len(names) > 1) or (names and not kept):
            raise UserError(f"{source}: has {key} {', '.join(map(str, names))}; choose one with --{key}")
    return kept


def by_protocol(
    datasets: Sequence[CocoDataset], lines: Iterable[Line], source: str | Path, readings: Mapping[str, Reading]
) -> dict[str, dict[str, list[Line]]]:
    """Return lines by protocol and data set.

    Raises UserError, naming the line, for a protocol without a reading, and where a line doesn't fit these data sets:
    an unknown name, an unknown image or one of another size, a category that is not asked for; and for a second answer
    to one question, whose boxes would count twice.
    """
    known = {dataset.name: dataset for dataset in datasets}
    sizes = {each.name: {image.id: (image.width, image.height) for image in each.images} for each in datasets}
    labels = {
        (protocol, each.name): set(map(label_key, asked_names(each, reading.names).values()))
        for protocol, reading in readings.items()
        for each in datasets
    }
    grouped: dict[str, dict[str, list[Line]]] = {}
    first: dict[tuple, int] = {}
    for number, line in enumerate(lines, start=1):
        where, name, protocol = f"{source}: line {number}", line["dataset"], line["protocol"]
        if protocol not in readings:
            raise UserError(f"{where}: protocol {protocol!r} is not among {', '.join(readings)}; give --protocol")
        if name not in known:
            raise UserError(f"{where}: data set {name!r} is not among {', '.join(known)}")
        other = f"{known[name].source}; predict the suite again"
        if line["image_id"] not in sizes[name]:
            raise UserError(f"{where}: image_id {line['image_id']!r} is not in {other}")
        if sizes[name][line["image_id"]] not in (UNKNOWN, (line["width"], line["height"])):
            raise UserError(f"{where}: image {line['image_id']!r} has another size in {other}")
        if strange := set(map(label_key, line["categories"])) - labels[protocol, name]:
            raise UserError(
                f"{where}: category {min(strange)!r} is not in {known[name].source}; predict the suite again, or give "
                "the protocol's names if it was asked by another one"
            )
        question = (protocol, name, line["image_id"], *line["categories"])
        if first.setdefault(question, number) != number:
            raise UserError(f"{where}: answers the question of line {first[question]} again; remove one of them")
        grouped.setdefault(protocol, {}).setdefault(name, []).append(line)
    return grouped


def label_reader(categories: Mapping[int, str]) -> Callable[[str, tuple[str, ...]], int | None]:
    """Return a function: (label, categories that were asked for) -> the category's id, or None.

    A label is compared exactly, then without spaces around it, then as label_key does; first with the categories that
    were asked for, then with all. So "o" and "o ", or "Q" and "q" (ODinW's boggleBoards), stay two categories, and the
    answer to a question for "o " alone need not repeat the space.
    """
    ids = {name: category for category, name in categories.items()}
    place = {name: number for number, name in enumerate(ids)}

    def by_form(names: Sequence[str]) -> list[tuple[Callable[[str], str], dict[str, int]]]:
        """Return each form with the ids of names in it; of several names that are one, the first counts."""
        return [(form, {form(name): ids[name] for name in reversed(names)}) for form in (str, str.strip, label_key)]

    of_all = by_form(list(ids))  # once: LVIS has 1,203 categories, V3Det 13,204

    @cache
    def of_asked(asked: tuple[str, ...]) -> list[tuple[Callable[[str], str], dict[str, int]]]:
        return by_form(sorted(place.keys() & set(asked), key=place.__getitem__))

    @cache
    def category_of(label: str, asked: tuple[str, ...]) -> int | None:
        tables = (*of_asked(asked), *of_all)
        return next((found[key] for form, found in tables if (key := form(label)) in found), None)

    return category_of


def _are_tokens(value: Any) -> bool:
    """Return whether a value is a list of [offset, log-probability], offsets rising."""
    pairs = isinstance(value, list) and all(isinstance(each, list) and len(each) == 2 for each in value)
    if not (pairs and all(type(offset) is int and is_number(logprob) for offset, logprob in value)):
        return False
    offsets = [offset for offset, _ in value]
    return offsets == sorted(offsets)


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a finite number."""
    # isfinite would raise for an integer beyond floats.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max
