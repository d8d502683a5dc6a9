"""JSON files as tools write them: read strictly first, which is fast, then leniently, counting every deviation.

A byte order mark and gzip are read as if they were not there; NaN, as Python writes it, is read as null.
"""

import json
import mmap
import re
from collections import Counter
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from vision_r1.files import UserError, plain

T = TypeVar("T")

_WHOLE = re.compile(r"[+-]?\d{1,1000}(\.0*)?")  # Python reads no more than 4,300 digits
_DECIMAL = re.compile(r"[+-]?(\d{1,1000}\.?\d{0,1000}|\.\d{1,1000})(e[+-]?\d{1,4})?", re.IGNORECASE | re.ASCII)
_FLAGS = {"true": 1, "false": 0}


def decode(
    path: str | Path,
    kind: type[T],
    form: str,
    second_look: Callable[[Callable], Any] | None = None,
    foreign: str = "",
) -> T:
    """Read a JSON file as a msgspec structure of type `kind`; `form` names the format in errors.

    foreign: what the error adds where the file seems to be of another form.

    second_look: what to try where that fails. It gets a function that reads the file as another type, and returns
    values of which `kind` can be made. Raises UserError naming the file and the item, or where it is cut.
    """
    try:
        with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            content = plain(mapped)
            try:
                return _parsed(content, kind)
            except msgspec.ValidationError:
                if second_look is None:
                    raise
                return msgspec.convert(second_look(lambda other: _parsed(content, other)), kind)
    except msgspec.ValidationError as error:
        # What is wrong with the file as a whole is named at $ or at $.images; else it is one item.
        remedy = "" if "[" in str(error) else foreign
        raise UserError(f"{path}: not in {form}: {error}{remedy}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        if Path(path).stat().st_size == 0:
            raise UserError(f"{path}: the file is empty; is the file cut off?") from None
        raise UserError(f"{path}: not valid JSON ({error}); is the file cut off?") from None


def whole_number(value: Any, notes: Counter) -> Any:
    """Return a whole number that was written as 1.0 or as text as an int, and count it in `notes`; else the value."""
    if isinstance(value, float) and value.is_integer():
        notes["whole numbers written as 1.0"] += 1
        return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        notes["numbers written as text"] += 1
        return int(value.strip().partition(".")[0])
    return value


def any_number(value: Any, notes: Counter) -> Any:
    """Return a finite number that was written as text as a float, and count it in `notes`; else the value."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()) and isfinite(found := float(value)):
        notes["numbers written as text"] += 1
        return found
    return value


def flag(value: Any, notes: Counter) -> Any:
    """Return a flag as 0 or 1 where it is null, text or 1.0, and count it in `notes`; else the value."""
    if value is None:
        notes["flags that are null"] += 1
        return 0
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        notes["flags written as text"] += 1
        return _FLAGS[value.strip().lower()]
    return whole_number(value, notes)


def _parsed(content: Any, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # NaN is no JSON: read as null, it is refused, naming its place, where a number has to stand.
        loaded = json.loads(bytes(content), parse_constant=lambda word: None, parse_float=_finite)
        return msgspec.convert(loaded, kind)


def _finite(text: str) -> float | None:
    return value if isfinite(value := float(text)) else None
