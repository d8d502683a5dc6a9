"""config/published.yaml: tables of published numbers, and the anchors among them. Points of 100 there, 0..1 here.

Every start of Snakemake reads it, to know what a table needs, so this module does without numpy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision_r1 import safe_yaml
from vision_r1.files import UserError
from vision_r1.recipes import PRESETS

MEAN = "mean"  # of a suite, in place of a data set


@dataclass(frozen=True)
class Place:
    """What a column measures: `metric` on a data set, or on MEAN over the suite's, by protocol."""

    suite: str
    protocol: str
    dataset: str
    metric: str


@dataclass(frozen=True)
class Column:
    """A column as printed; place: None where no protocol of ours measures it."""

    title: str
    place: Place | None


@dataclass(frozen=True)
class PublishedRow:
    """A row as printed; values 0..1, None where nothing is printed.

    model: its name with the method; id: its repository on the hub, None where this pipeline does not train it;
    checkpoint: the one in our chain that it corresponds to, None for none.
    """

    name: str
    model: str
    id: str | None
    checkpoint: str | None
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Table:
    """A table as printed. stand_in: the model on the hub that we train in place of theirs; notes: also its misprints.

    recipe: the preset by which its models were trained and measured; misprints: (row, column) not used as anchors.
    """

    name: str
    title: str
    source: str
    recipe: str | None
    columns: tuple[Column, ...]
    rows: tuple[PublishedRow, ...]
    stand_in: str | None
    notes: tuple[str, ...]
    misprints: frozenset[tuple[str, str]]

    def measured(self, model_id: str | None) -> Iterator[tuple[str, str]]:
        """Yield (checkpoint, suite) that the numbers of a run with this base model need."""
        for row in self.rows:
            if model_id is not None and row.checkpoint and model_id in (row.id, self.stand_in):
                for column, value in zip(self.columns, row.values, strict=True):
                    if column.place and value is not None:
                        yield row.checkpoint, column.place.suite


@dataclass(frozen=True)
class Anchor:
    """A published number, `value` and `tolerance` 0..1, of a model on the hub (`id`, None: not trained here).

    checkpoint: the one in our chain that it corresponds to; recipe: the preset by which it was trained; dataset: a data
    set, or MEAN over the suite.
    """

    model: str
    id: str | None
    checkpoint: str
    suite: str
    protocol: str
    dataset: str
    metric: str
    value: float
    tolerance: float
    source: str
    recipe: str


def read_tables(path: str | Path) -> list[Table]:
    """Read the tables. Raises UserError naming a table or row that is incomplete."""
    return _tables(path, _content(path))


def read_published(path: str | Path) -> list[Anchor]:
    """Read the anchors, each number once. Raises UserError as `read_tables` does."""
    content = _content(path)
    tolerance, anchors = content["tolerance"], {}
    for table in _tables(path, content):
        for row in table.rows if table.recipe and not table.stand_in else ():
            for column, value in zip(table.columns, row.values, strict=True):
                place = column.place
                if not row.checkpoint or not place or value is None or (row.name, column.title) in table.misprints:
                    continue
                allowed = tolerance[MEAN if place.dataset == MEAN else "dataset"] / 100
                about = (row.id, row.checkpoint, place.suite, place.protocol, place.dataset, place.metric)
                # An id of None may be any model, so its name tells rows apart.
                key = (row.id or row.name, *about[1:])
                anchors.setdefault(key, Anchor(row.model, *about, value, allowed, table.source, table.recipe))
    return list(anchors.values())


def _content(path: str | Path) -> dict[str, Any]:
    content = safe_yaml.read(path)
    missing = {"models", "tolerance", "tables"} - content.keys()
    wrong = [key for key in ("models", "tolerance", "tables") if not isinstance(content.get(key), dict)]
    if missing:
        raise UserError(f"{path}: no key {min(missing)!r}")
    if wrong or {MEAN, "dataset"} - content["tolerance"].keys():
        raise UserError(f"{path}: {', '.join(wrong) or 'tolerance'}: not a mapping as it is shipped")
    return content


def _tables(path: str | Path, content: Any) -> list[Table]:
    return [_table(f"{path}: {name}", name, entry, content["models"]) for name, entry in content["tables"].items()]


def _table(where: str, name: str, entry: Any, models: dict[str, str]) -> Table:
    try:
        columns = tuple(Column(title, place and Place(*place)) for title, place in entry["columns"].items())
        stand_in = entry.get("stand_in")
        rows = []
        for title, checkpoint, *values in entry["rows"]:
            if len(values) != len(columns):
                raise UserError(f"{where}: row {title!r} has {len(values)} numbers for {len(columns)} columns")
            model = entry.get("model", title.partition(" + ")[0])
            points = tuple(None if value is None else value / 100 for value in values)
            full = f"{model}, {title}" if "model" in entry else title
            rows.append(PublishedRow(title, full, models.get(model), checkpoint, points))
        misprints = entry.get("misprints", ())
        if entry["recipe"] not in (None, *PRESETS):
            raise UserError(f"{where}: unknown recipe {entry['recipe']!r}; choose {', '.join(PRESETS)} or null")
        return Table(
            name=name,
            title=entry["title"],
            source=entry["source"],
            recipe=entry["recipe"],
            columns=columns,
            rows=tuple(rows),
            stand_in=models[stand_in] if stand_in else None,
            notes=(*([entry["notes"]] if "notes" in entry else []), *(": ".join(each) for each in misprints)),
            misprints=frozenset((row, column) for row, column, _ in misprints),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{where}: {error!r}; write it as the other tables") from None
