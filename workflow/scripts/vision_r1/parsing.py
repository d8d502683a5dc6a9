"""Any completion in, detections out: the one parser of rewards and evaluation.

A model is asked for a JSON list of {"bbox_2d": [x1, y1, x2, y2], "label": "..."}, bare or in a ```json fence, and may
write anything. `parse` never raises, takes time linear in the text's length, and reports in a Verdict how the text
was read.
"""

import json
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

MAX_CHARACTERS = 1_000_000  # of a text; what follows is not read
MAX_BOXES = 10_000  # of one text; what follows is not kept
MAX_COORDINATE = 1e12  # absolute value; beyond it areas could overflow single precision


class Verdict(StrEnum):
    """How a text was read, worst first; a text gets the first that applies.

    With any verdict down to `no_label`, something was lost or had to be recovered: the text is not well formed.
    """

    CAPPED = "capped"  # too long, too deeply nested, or too many boxes; the rest is not read
    NOT_JSON = "not_json"  # nothing could be read
    TRUNCATED = "truncated"  # cut off; the complete items are kept
    MALFORMED = "malformed"  # broken JSON; items that can be read alone, at most for a comma or line break, are kept
    SURROUNDED = "surrounded"  # text or a second answer around the JSON; all items are kept
    NOT_A_LIST = "not_a_list"  # a lone item, nested lists, a number, ...; the items are kept
    NO_BOX = "no_box"  # an item without a list bbox_2d; it is dropped, as are the next five
    WRONG_ARITY = "wrong_arity"  # not four coordinates
    NOT_A_NUMBER = "not_a_number"  # a coordinate that is text, null, true, ...
    NON_FINITE = "non_finite"  # NaN, infinite, or beyond MAX_COORDINATE
    INVERTED = "inverted"  # x1 >= x2 or y1 >= y2
    NO_LABEL = "no_label"  # no label, or one that is not text
    UNKNOWN_LABEL = "unknown_label"  # a label that was not asked for; the item is kept
    FENCED = "fenced"  # as asked, in a fence
    CLEAN = "clean"  # as asked, bare


WELL_FORMED = frozenset({Verdict.UNKNOWN_LABEL, Verdict.FENCED, Verdict.CLEAN})
SEVERITY = tuple(Verdict)


@dataclass(frozen=True)
class Parsed:
    """Detections of one text: boxes (n, 4) x1 y1 x2 y2 in the text's own frame, and their n labels as written.

    A label is None only where the released code's rules keep an item without one. `well_formed`: whether the text
    earns the dual-format reward.
    """

    boxes: np.ndarray
    labels: list[str | None]
    verdict: Verdict
    well_formed: bool


def parse(text: str, known: Collection[str] | None = None) -> Parsed:
    """Read the detections of a completion. Never raises; `known` are the labels that were asked for, if any."""
    faults = set()
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS]
        faults.add(Verdict.CAPPED)
    # Two passes. First the whole text is read, since a right answer is a single JSON list. Only if that fails are
    # single objects searched for, so that an answer which is truncated or has other text around it keeps its boxes.
    items, manner = _read(text)
    faults.add(manner)
    boxes, labels = [], []
    for item in items:
        fault = _fault(item)
        if fault:
            faults.add(fault)
        elif len(boxes) == MAX_BOXES:
            faults.add(Verdict.CAPPED)
            break
        else:
            boxes.append(item["bbox_2d"])
            labels.append(_writable(item["label"]))
    if known is not None and not known_labels(labels, known):
        faults.add(Verdict.UNKNOWN_LABEL)
    verdict = manner if len(faults) == 1 else min(faults, key=SEVERITY.index)
    return Parsed(np.array(boxes, np.float64).reshape(-1, 4), labels, verdict, verdict in WELL_FORMED)


def label_key(label: str) -> str:
    """Return the form in which labels are compared: stripped, case-folded, accents composed (NFC)."""
    return unicodedata.normalize("NFC", label.strip().casefold())


def known_labels(labels: Collection[str], known: Collection[str]) -> bool:
    """Return whether all labels are among the known ones, as label_key compares them."""
    return set(labels).issubset(known) or set(map(label_key, labels)).issubset(map(label_key, known))


# Every number is read as a float: Python limits an integer's digits, and a float that is too large is infinite.
_DECODER = json.JSONDecoder(parse_int=float)
_LENIENT = json.JSONDecoder(parse_int=float, strict=False)  # takes a line break or tab within a string

# A JSON object without an object inside, and one with such objects inside. Possessive, and without a
# backslash outside of strings, so that a scan of the whole text is linear: where a match from one brace runs on inside
# a string, a match from any later brace fails at one of the next braces or backslashes.
_PLAIN = r'[^{}"\\]++|"(?:[^"\\]++|\\.)*+"'
_FLAT_OBJECT = re.compile(rf"\{{(?:{_PLAIN})*+\}}")
_OBJECT = re.compile(rf"\{{(?:{_PLAIN}|{_FLAT_OBJECT.pattern})*+\}}")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.S)  # the last one may be cut off
_LAST_COMMA = re.compile(rf"({_STRING.pattern})|,(?=\s*+[}}\]])", re.S)
# What an answer may begin with: a byte order mark, or the empty thought of a reasoning model told not to reason.
_PREAMBLE = re.compile(r"\s*+\ufeff?(?:\s*+<think>\s*+</think>)?+")


def _read(text: str) -> tuple[list, Verdict]:
    """Return the items of a text, each any JSON value, and how they were found."""
    payload, fence = _unfenced(text)
    starts_well = payload.startswith(("[", "{"))
    try:
        value, end = _DECODER.raw_decode(payload)
    except RecursionError:
        return _recovered(text), Verdict.CAPPED
    except ValueError:
        items = _recovered(text)
        # Brackets in labels don't count. Strings are recognised only in a text that begins as JSON: in prose, a
        # quotation mark may stand alone.
        bare = _STRING.sub("", payload) if starts_well else text
        cut = bare.count("[") > bare.count("]") or bare.count("{") > bare.count("}")
        if cut and (items or starts_well):
            return items, Verdict.TRUNCATED
        if not items:
            return items, Verdict.NOT_JSON
        return items, Verdict.MALFORMED if starts_well else Verdict.SURROUNDED
    if end < len(payload):
        items = _recovered(text)
        return items, Verdict.SURROUNDED if items or starts_well else Verdict.NOT_JSON
    if type(value) is not list or list in map(type, value):
        return _recovered(text), Verdict.NOT_A_LIST
    return value, fence


def _unfenced(text: str) -> tuple[str, Verdict]:
    """Take off an empty thought before the text, and a code fence around the whole of it."""
    text = text[_PREAMBLE.match(text).end() :].strip()
    if not text.startswith("```"):
        return text, Verdict.CLEAN
    text = text[7:] if text[3:7].lower() == "json" else text[3:]
    if text.endswith("```"):
        return text[:-3].strip(), Verdict.FENCED
    return text.strip(), Verdict.TRUNCATED


def _recovered(text: str) -> list[dict]:
    """Return every item found anywhere in a text that is not a JSON list as a whole.

    An item may hold objects of its own, one level deep; an object without a box, or that is no JSON as a whole, is
    searched for items.
    """
    items = []
    for found in _decoded(_OBJECT, text, inside=True):
        if "bbox_2d" in found[0]:
            items.append(found[0])
        else:
            items += [item for item, _ in _decoded(_FLAT_OBJECT, found[1][1:])] or [found[0]]
    return items


def _decoded(pattern: re.Pattern[str], text: str, inside: bool = False) -> Iterator[tuple[dict, str]]:
    """Yield each match that is JSON, apart from trailing commas and line breaks in strings, and its text.

    inside: of others, yield the objects in them.
    """
    for found in pattern.finditer(text):
        try:
            yield _DECODER.decode(found.group()), found.group()
        except (ValueError, RecursionError):
            try:
                yield _LENIENT.decode(_LAST_COMMA.sub(lambda each: each[1] or "", found.group())), found.group()
            except (ValueError, RecursionError):
                if inside:
                    yield from _decoded(_FLAT_OBJECT, found.group()[1:])


def _writable(label: str) -> str:
    """Return a label that can be written as UTF-8: half of an emoji's escape becomes a question mark."""
    return label if label.isascii() else label.encode("utf-8", "replace").decode("utf-8")


def _fault(item: object) -> Verdict | None:
    """Return why an item is no detection, or None if it is one."""
    if type(item) is not dict or type(item.get("bbox_2d")) is not list:
        return Verdict.NO_BOX
    box = item["bbox_2d"]
    if len(box) != 4:
        return Verdict.WRONG_ARITY
    x1, y1, x2, y2 = box
    if not type(x1) is type(y1) is type(x2) is type(y2) is float:
        return Verdict.NOT_A_NUMBER
    limit = MAX_COORDINATE  # any comparison with NaN is false
    if not (-limit < x1 < limit and -limit < y1 < limit and -limit < x2 < limit and -limit < y2 < limit):
        return Verdict.NON_FINITE
    if x1 >= x2 or y1 >= y2:
        return Verdict.INVERTED
    if type(item.get("label")) is not str:
        return Verdict.NO_LABEL
    return None
