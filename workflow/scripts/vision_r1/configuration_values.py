"""Values that no key of a configuration may have, whatever its schema says."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vision_r1.experiments import SFT, STAGES
from vision_r1.files import UserError, is_one_line


def check_values(config: Mapping[str, Any]) -> None:
    """Raise UserError, naming the key, for numbers that are not finite and for texts that break a line or a command.

    Templates may have several lines, and launchers begin their flags with a hyphen.
    """
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"config: {key}: {value} is not a finite number")
        if isinstance(value, str) and "templates" not in key.split(".") and not key.startswith("compute.launch"):
            _check_text(key, value)


def check_files(config: Mapping[str, Any], prefix: str = "") -> None:
    """Raise UserError for a missing DeepSpeed file, which a training would notice only after hours in a queue.

    config: a whole configuration or what an experiment overrides; prefix: of its keys.
    """
    for section in (SFT, "grpo", *STAGES):
        path = config.get(section, {}).get("deepspeed")
        if path is not None and not Path(path).is_file():
            raise UserError(f"config: {prefix}{section}.deepspeed: no such file {path!r}")


def check_selection(config: Mapping[str, Any]) -> None:
    """Raise UserError for a suite that mixes test sets with images held out of the training data, or has none."""
    for suite in config["report"]["suites"]:
        names = config["evaluation"]["suites"].get(suite, ())
        if not config["data"]["held_out"] and any("selection" in config["datasets"][name] for name in names):
            raise UserError(f"config: report.suites: {suite} has held-out training images, and data.held_out is 0")
    for suite, names in config["evaluation"]["suites"].items():
        for name in names:
            if len(names) > 1 and "selection" in config["datasets"][name]:
                raise UserError(
                    f"config: evaluation.suites.{suite}: {name!r} has training images, for choosing checkpoints; "
                    "give it a separate suite"
                )


def _check_text(key: str, value: str) -> None:
    if value and not is_one_line(value):
        raise UserError(f"config: {key}: {value[:40]!r} is not one line of text; write it on one")
    if re.search(r"://[^/\s]*@", value):
        raise UserError(f"config: {key}: contains a user name or password; put it into ~/.netrc instead")
    if value.startswith("-"):
        raise UserError(f"config: {key}: {value[:40]!r} would be read as a flag; let it begin with another character")
    if key.startswith(("datasets.", "model.id")) and re.search("[{}]", value):
        raise UserError(f"config: {key}: {value!r} has braces, which are wildcards to Snakemake; rename the folder")


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (key, value) of every value that is no section, and (key, name) for every name in a section."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise UserError(f"config: {key or 'top level'}: the name {name!r} is not text; put it in quotes")
            yield key or "top level", name
            yield from _leaves(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, key)
    else:
        yield key, value
