"""YAML by libyaml, where PyYAML was built with it: six times as fast, and every start of Snakemake reads five files."""

import re
from pathlib import Path
from typing import Any

import yaml

from vision_r1.files import UserError, read_text
from vision_r1.text import one_line

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OF_TEXTS = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NOT_DECIMAL = re.compile(r"[-+]?0[0-9_]+$|.*:")  # octal, and base 60


def load(text: str, as_written: bool = False) -> Any:
    """Return what a YAML text says: plain values only, and only texts under `as_written`.

    Raises yaml.YAMLError, also for a key that is given twice, of which the second would silently replace all of the
    first, and for numbers of YAML 1.1 that nobody means: 010 is 8, and 1:30 is 90.
    """
    reader = (_OF_TEXTS if as_written else _LOADER)(text)
    try:
        if (root := reader.get_single_node()) is None:
            return None
        _check(root, set())
        return reader.construct_document(root)
    finally:
        reader.dispose()


def _check(node: yaml.Node, seen: set[int]) -> None:
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith((":int", ":float")) and _NOT_DECIMAL.match(node.value):
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{node.value} in line {line} is not a decimal number; write one, or put it in quotes")
        return
    if id(node) in seen:
        return
    seen.add(id(node))  # an anchor's node is in several places
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            _check(each, seen)
        return
    keys: dict[tuple[str, str], yaml.Node] = {}
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            first = keys.setdefault((key.tag, key.value), key)
            if first is not key:
                lines = f"lines {first.start_mark.line + 1} and {key.start_mark.line + 1}"
                raise yaml.YAMLError(f"{key.value!r} is given twice, in {lines}; merge them")
        _check(key, seen)
        _check(value, seen)


def read(path: str | Path, as_written: bool = False) -> dict[str, Any]:
    """Return the mapping that a YAML file holds. Raises UserError where it can't be read, or holds something else.

    as_written: values and keys are the texts that are there, `010` and `no` among them.
    """
    try:
        content = load(read_text(path), as_written)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({one_line(error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a mapping of keys in YAML")
    return content
