"""What is wrong with a value of the configuration, in plain words and not the schema's."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vision_r1.text import closest

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

# Pattern of the schema -> what it requires, in words. A test checks that none is missing.
PATTERNS = {
    "^[a-z0-9_]+$": "lower-case letters, digits and _ only",
    "^[a-z0-9_-]+$": "lower-case letters, digits, _ and - only",
    "^[a-z0-9-]+$": "lower-case letters, digits and - only",
    "^[A-Za-z0-9_./:=,@%+-]+$": "one word of letters, digits and _./:=,@%+- only",
    "^[0-9a-f]{32}$": "32 hex digits in lower case",
    "^[0-9a-f]{40}$": "40 hex digits in lower case",
    "^[0-9a-f]{64}$": "64 hex digits in lower case",
    "\\{categories\\}": "the text must contain {categories}",
    "\\{phrase\\}": "the text must contain {phrase}",
}
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a section of keys",
}


def in_words(error: "ValidationError") -> str:
    """Return what is wrong, without the key that it is about."""
    say = _WORDS.get(error.validator)
    return say(error.instance, error.validator_value) if say else error.message


def _kind(value: Any, kinds: str | list[str]) -> str:
    names = " or ".join(KINDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return f"{value!r} is text, not a number; YAML wants a dot and a signed exponent: {float(value):.1e}"
    if isinstance(value, str):
        hint = "; after --config Snakemake reads nested values, true and null as text: give a file to --configfile"
        meant = re.fullmatch(r"[+-]?[\d.]+|true|false|null|None", value)
        return f"{value!r} is text, not {names}" + (hint if meant else "")
    return f"{_short(value)} is not {names}"


def _choice(value: Any, choices: list[Any]) -> str:
    names = [str(each) for each in choices]
    close = closest(value, names)
    return f"{_short(value)} is not one of {', '.join(names)}" + (f"; did you mean {close!r}?" if close else "")


def _missing(value: Any, required: list[str]) -> str:
    return f"missing: {', '.join(key for key in required if key not in value)}"


def _one_of(value: Any, forms: list[Any]) -> str:
    sets = [" and ".join(form["required"]) for form in forms if "required" in form]
    if isinstance(value, dict) and sets:
        return f"give one of these, and only one: {'; '.join(sets)}"
    return f"{_short(value)} has none of the forms that this key allows (docs/configuration.md)"


def _partners(value: Any, needed: dict[str, list[str]]) -> str:
    key = next(key for key, others in needed.items() if key in value and not {*others} <= value.keys())
    return f"{key!r} goes with {' and '.join(needed[key])}, which is missing"


def _short(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# Keyword of the schema -> words for (value, what the schema says there).
_WORDS: dict[str, Callable[[Any, Any], str]] = {
    "type": _kind,
    "enum": _choice,
    "required": _missing,
    "oneOf": _one_of,
    "dependentRequired": _partners,
    "const": lambda value, only: f"{_short(value)} can only be {'true' if only is True else only!r}",
    "pattern": lambda value, pattern: f"{_short(value)}: {PATTERNS[pattern]}",
    "minimum": lambda value, bound: f"{value} is too small; give at least {bound}",
    "maximum": lambda value, bound: f"{value} is too large; give at most {bound}",
    "exclusiveMinimum": lambda value, bound: f"{value} is too small; give more than {bound}",
    "exclusiveMaximum": lambda value, bound: f"{value} is too large; give less than {bound}",
    "multipleOf": lambda value, unit: f"{value} is not a multiple of {unit}",
    "minItems": lambda value, least: f"the list has {len(value)} entries; give at least {least}",
    "maxItems": lambda value, most: f"the list has {len(value)} entries; give at most {most}",
    "maxLength": lambda value, most: f"{_short(value)} has {len(value)} characters; give at most {most}",
    "uniqueItems": lambda value, _: f"{next(each for each in value if value.count(each) > 1)!r} is in the list twice",
}
