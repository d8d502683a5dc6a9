"""The configuration against its schema: what is wrong with a value, in plain words and not the schema's."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match

from vision_r1 import trl_fields
from vision_r1.experiments import SFT, STAGES
from vision_r1.files import UserError
from vision_r1.text import closest, did_you_mean

# What base, SFT and every experiment have in common, so that they differ in their training only: section -> keys.
SHARED = {
    "model": ("model", "family", "dtype", "min_pixels", "max_pixels"),
    "data": ("prompts", "train_file"),
    "evaluation": ("evaluation",),
}

# Names of older configurations, and what they are called now.
RENAMED = {
    "official": "released_2025",
    "single_beginner": "step_1",
    "parser": "reader",
    "official-coco": "released-one-prompt",
    "official-odinw": "released-present",
}
# Keys of older configurations that nothing stands for, and what does their work.
REMOVED = {
    "shards": "compute.launch_predict and compute.predict_suite say over how many processes and nodes it is split"
}

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


# JSON Schema takes 50.0 for an integer; programs don't.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def check_schema(config: Mapping[str, Any], schema: Mapping[str, Any], prefix: str = "") -> None:
    """Raise UserError, naming the key, for what matters most of what the schema refuses; prefix: of the key."""
    error = best_match(_Validator(schema).iter_errors(config))
    if error is not None:
        path = prefix + ".".join(map(str, error.absolute_path))
        raise UserError(f"config: {path.rstrip('.') or 'top level'}: {_explain(error)}")


def _explain(error: ValidationError) -> str:
    value = error.instance
    if error.validator == "additionalProperties":
        unknown = min(set(value) - set(error.schema.get("properties", {})))
        if error.absolute_path and error.absolute_path[0] in ("sft", "grpo", *STAGES, "experiments"):
            for section, keys in SHARED.items():
                if unknown in keys:
                    return f"{unknown!r} can't differ between arms, they would not be comparable; set section {section}"
            if reason := trl_fields.refused(unknown, SFT if SFT in error.absolute_path else "grpo"):
                return f"{unknown!r} can't be set here: {reason}"
        if unknown in RENAMED:
            return f"{unknown!r} is now {RENAMED[unknown]!r}"
        if unknown in REMOVED:
            return f"{unknown!r} is gone; {REMOVED[unknown]}"
        return f"unknown key {unknown!r}{did_you_mean(unknown, error.schema['properties'])}"
    if error.validator == "not" and "const" in error.validator_value:
        is_zero = error.validator_value["const"] == 0
        hint = "give at least 1, or -1 where another key decides" if is_zero else "the name is taken"
        return f"{value!r} is not allowed; {hint}"
    if error.validator == "enum" and isinstance(value, str) and value in RENAMED:
        return f"{value!r} is now {RENAMED[value]!r}"
    say = _WORDS.get(error.validator)
    return say(value, error.validator_value) if say else error.message


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
