"""docs/configuration.md: every key of the configuration, from the schema."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vision_r1 import trl_fields
from vision_r1.configuration import load


def reference(folder: str | Path) -> str:
    """Return the schema of folder config/ as Markdown tables: our keys, and TRL's that ours say nothing about."""
    schema, fields = (load([Path(folder) / name]) for name in ("schema.yaml", "trl_fields.yaml"))
    text = _table(_described(schema, schema, ""))
    for section, config in trl_fields.SECTIONS.items():
        own = schema["properties"][section]["properties"]
        others = {"properties": {key: value for key, value in fields[section].items() if key not in own}}
        also = ", grpo_stage1 and grpo_stage2" if section == "grpo" else ""
        text += f"\n## Section {section}{also}: the other fields of TRL's {config}, in TRL's words\n\n"
        text += _table(_described(others, schema, ""))
    return text


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["| key | type | meaning, unit and source |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{key}` | {kind} | {text} |" for key, kind, text in rows)]) + "\n"


def _described(schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    if path:
        kinds = schema.get("type", "object")
        kind = " or ".join(map(str, schema["enum"])) if "enum" in schema else kinds
        about = schema["description"].replace("<", "&lt;").replace("|", "\\|")
        default = f" (default: {json.dumps(schema['default'])})" if "default" in schema else ""
        yield path, kind if isinstance(kind, str) else " or ".join(kinds), about + default
    for key, value in schema.get("properties", {}).items():
        yield from _described(value, root, f"{path}.{key}" if path else key)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _described(schema["additionalProperties"], root, f"{path}.<name>")
