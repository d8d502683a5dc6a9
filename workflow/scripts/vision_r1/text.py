"""Texts for people: names from foreign files made harmless, and the name that was probably meant."""

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


def visible(text: str, keep: str = "") -> str:
    """Write invisible characters (control, bidirectional, lone surrogates) as \\uXXXX, except those in `keep`."""
    return "".join(
        f"\\u{ord(sign):04x}" if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign not in keep else sign
        for sign in text
    )


def shorten(text: str, length: int = 60) -> str:
    """Cut to `length` characters, the last one an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def shorten_middle(text: str, length: int = 36) -> str:
    """Cut to `length` characters in the middle: names often differ at the end."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[length // 2 - length + 1 :]}"


def one_line(error: Exception) -> str:
    """Return an error's text on one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def closest(name: Any, names: Sequence[str]) -> str | None:
    """Return the one of `names` that is written most like `name`, None where none is close."""
    return next(iter(get_close_matches(str(name), names, n=1, cutoff=0.7)), None)


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name closest to `name`, or all known names where none is close.

    Where they are too many for one line, refers to docs/configuration.md.
    """
    names = list(known)
    if close := closest(name, names):
        return f"; did you mean {close!r}?"
    return f"; known: {', '.join(names)}" if len(names) <= 40 else "; docs/configuration.md lists all"
