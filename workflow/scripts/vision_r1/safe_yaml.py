"""YAML by libyaml, where PyYAML was built with it: six times as fast, and every start of Snakemake reads five files."""

from pathlib import Path
from typing import Any

import yaml

from vision_r1.files import UserError, read_text

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """Return what a YAML text says: plain values only. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_LOADER)


def read(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds. Raises UserError where it can't be read, or holds something else."""
    try:
        content = load(read_text(path))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of keys in YAML")
    return content
