"""A published table in its own shape: theirs, ours and the difference, row by row."""

from collections.abc import Mapping
from typing import Any

from vision_r1.evaluation.anchors import NOT_RUN, Metrics, measure
from vision_r1.evaluation.published import PublishedRow, Table
from vision_r1.experiments import BASE, SFT, split_checkpoint
from vision_r1.report.comparability import Presets, departures, first_keys
from vision_r1.report.sheets import Difference, Sheet, Value

NOT_PRINTED = "–"


def published_sheet(table: Table, config: Mapping[str, Any], presets: Presets, metrics: Metrics) -> Sheet:
    """Return a table as printed; below each row about this run's base model stand our numbers and the difference.

    A table about a model that we don't train has our numbers on another one, without a difference. The caption names
    misprints, and the settings in which an arm of ours is trained or measured differently.
    """
    model_id = config["model"]["id"]
    lines: list[tuple[Value, ...]] = []
    notes = list(table.notes)
    for row in table.rows:
        lines.append((row.name, "published", *(_cell(value, NOT_PRINTED) for value in row.values)))
        if model_id is None or not row.checkpoint or model_id not in (row.id, table.stand_in):
            continue
        measured = [
            measure(metrics, row.checkpoint, column.place)[0] if column.place else None for column in table.columns
        ]
        whose = f"ours, {model_id}" if table.stand_in else "ours"
        lines.append((row.name, whose, *(_cell(value, NOT_RUN) for value in measured)))
        if not table.stand_in and any(value is not None for value in measured):
            pairs = zip(measured, row.values, strict=True)
            differences = (None if None in pair else Difference(pair[0] - pair[1]) for pair in pairs)
            lines.append((row.name, "difference", *(_cell(value, NOT_PRINTED) for value in differences)))
        if (note := _departure(table, row, config, presets)) is not None:
            notes.append(note)
    about = "Points of 100; ours: one score for every box, in pycocotools' order."
    return Sheet(
        table.name,
        " ".join([f"{table.title} ({table.source}).", about, *(f"{note.rstrip('.')}." for note in notes)]),
        ("", "whose", *(column.title for column in table.columns)),
        tuple(lines),
        texts=2,
    )


def _cell(value: float | None, missing: str) -> Value:
    return missing if value is None else value


def _departure(table: Table, row: PublishedRow, config: Mapping[str, Any], presets: Presets) -> str | None:
    """Say in which settings our arm differs from the recipe's; None where it doesn't."""
    arm = split_checkpoint(row.checkpoint)[0]
    if arm not in (BASE, SFT, *config["experiments"]):
        return f"Ours of {row.name}: this configuration has no experiment {arm}"
    keys = departures(config, presets[table.recipe], arm) if table.recipe in presets else []
    if not keys:
        return None
    return f"Ours of {row.name} is not as recipe {table.recipe} has it: {first_keys(keys)}"
