"""The report: one HTML file with everything in it, no network, one script that sorts and filters tables."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vision_r1 import configuration
from vision_r1.evaluation.compare import mean_intervals
from vision_r1.experiments import (
    STAGES,
    chain_of,
    chains,
    experiment_config,
    parent_checkpoint,
    reward_of,
    seed_of,
    split_checkpoint,
)
from vision_r1.files import read_json
from vision_r1.report import provenance
from vision_r1.report.ablations import rewarded_parts
from vision_r1.report.comparability import Presets, banner, judged, nearest, published_numbers
from vision_r1.report.conclusion import conclusion
from vision_r1.report.datasheet import Overlay
from vision_r1.report.disclosures import disclosures
from vision_r1.report.gallery import Gallery, before_and_after
from vision_r1.report.reasons import reason_sheets, reasons
from vision_r1.report.results import STAGE_TITLES, Checkpoint, Result, first_seed, pairs, stages_shown
from vision_r1.report.sheets import shown
from vision_r1.report.style import DARK, FIGURES
from vision_r1.report.tables import (
    Column,
    ScoreRow,
    checkpoint_text,
    column_groups,
    comparison_sheet,
    dataset_columns,
    dataset_tables,
    datasets_of,
    interval_sheet,
    main_columns,
    main_table,
    policy_sheet,
    seed_text,
    spread_table,
)
from vision_r1.report.template import fill
from vision_r1.run_folder import Run
from vision_r1.text import shorten, visible
from vision_r1.zoo import criterion_of

# What each type of prompts (evaluation.protocols.<name>.prompts) reveals to the model.
REVEALED = {
    "all-in-one": "One question per image lists every category of the data set; the model has to find what is there.",
    "per-category": "One question per image and category of the data set, also for categories that are not in the "
    "image. The model gets no hint, so this is the fair protocol; every box of an absent category counts as false.",
    "per-present-category": "One question per image and category that IS in the image (the paper's protocol for "
    "ODinW-13). It tells the model what is there, so false alarms on absent categories can't happen; compare it "
    "with the protocol that asks for every category.",
}


@dataclass(frozen=True)
class Inputs:
    """What the page is made from.

    run: the configuration, and the folders of plot_results.py and audit_rewards.py; presets: published recipe -> its
    configuration, to compare with; training: checkpoint -> metrics.json of its training; galleries: of test images;
    jobs: those of Snakemake's benchmark files; curation: the summary of curate_train.py; comparison: of
    compare_checkpoints.py; anchors: of check_anchors.py; metrics: (checkpoint, suite) -> metrics of score_suite.py;
    datasheet, overlays: of the training file; gpus: rule -> GPUs that one of its jobs asks for; checksums: of
    checksum_inputs.py; targets: (what, file) of the numbers; snakemake: the command that a reader starts the workflow
    with.
    """

    results: Sequence[Result]
    run: Run
    presets: Presets
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    galleries: Sequence[Gallery] = ()
    curation: Mapping[str, Any] | None = None
    comparison: Mapping[str, Any] | None = None
    metrics: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    anchors: Sequence[Mapping[str, Any]] = ()
    datasheet: Mapping[str, Any] | None = None
    overlays: Sequence[Overlay] = ()
    jobs: Sequence[Mapping[str, Any]] = ()
    gpus: Mapping[str, int] = field(default_factory=dict)
    checksums: Sequence[Mapping[str, Any]] = ()
    targets: Sequence[tuple[str, str]] = ()
    snakemake: str = "snakemake"


def render(inputs: Inputs) -> str:
    """Return the report as HTML. What is missing is called missing."""
    return fill("report.html.j2", _context(inputs), {"seed": seed_text, "shown": shown, "checkpoint": checkpoint_text})


def expected_benchmarks(run: Run, results: Sequence[Result]) -> list[tuple[str, str]]:
    """List (suite, protocol) that the configuration asks for, then any others; the first one is primary."""
    return list(dict.fromkeys([*run.benchmarks, *pairs(results)]))


def embedded(folder: Path, name: str) -> str | None:
    """Return a figure as a data URI whose colours follow the reader's light or dark screen, None if missing."""
    path = folder / f"{name}.svg"
    if not path.is_file():
        return None
    svg, light, dark = path.read_text(encoding="utf-8"), "", ""
    for number, (colour, dark_colour) in enumerate(DARK.items()):
        svg = svg.replace(colour, f"var(--c{number})")
        light += f"--c{number}:{colour};"
        dark += f"--c{number}:{dark_colour};"
    style = f"<style>:root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    svg = svg.replace("<defs>", f"{style}<defs>", 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _context(inputs: Inputs) -> dict[str, Any]:
    run, config, results = inputs.run, inputs.run.config, inputs.results
    benchmarks = expected_benchmarks(run, results)
    checkpoints = list(dict.fromkeys([*run.checkpoints, *(result.checkpoint for result in results)]))
    columns = main_columns(benchmarks)
    published = published_numbers(config, inputs.presets, inputs.anchors)
    rows = main_table(results, checkpoints, columns, published)
    suites = {suite: config["evaluation"]["suites"].get(suite, []) for suite, _ in benchmarks}
    for suite, names in datasets_of(results).items():
        suites[suite] = list(dict.fromkeys([*suites[suite], *names]))
    every_column = dataset_columns(benchmarks, suites)
    every_row = main_table(results, checkpoints, every_column, published)
    experiments, seeds = config["report"]["experiments"], config["report"]["training_seeds"]
    same = [[*chains(config, [name], seeds).values()] for name in experiments]
    stages = {name: _stages(config, name) for name in experiments}
    tested = [_suite(config, suite) for suite in dict.fromkeys(suite for suite, _ in benchmarks)]
    intervals = mean_intervals(inputs.comparison["lines"]) if inputs.comparison else {}
    return {
        "config": config,
        "disclosures": disclosures(config),
        "banner": banner(config, inputs.presets),
        "run": configuration.run_name(config),
        "subject": _subject(config["model"], tested),
        "conclusions": [conclusion(results, each, *benchmarks[0], intervals) for each in same],
        "suites": tested,
        "scores": _scores(columns, rows),
        "every_score": _scores(every_column, every_row),
        "columns": columns,
        "spreads": spread_table(rows),
        "intervals": interval_sheet(results),
        "comparison": inputs.comparison,
        "differences": inputs.comparison and comparison_sheet(inputs.comparison),
        "reasons": reason_sheets(reasons(inputs.metrics, first_seed(results), benchmarks)),
        "policies": policy_sheet(results, first_seed(results)),
        "audit": _audit(run.audit),
        "datasheet": inputs.datasheet,
        "overlays": inputs.overlays,
        "anchors": judged(config, inputs.presets, inputs.anchors),
        "figures": {name: embedded(run.figures, name) for name in FIGURES},
        "dataset_tables": dataset_tables(results, first_seed(results)),
        "galleries": inputs.galleries,
        "before_and_after": before_and_after(inputs.galleries),
        "experiments": stages,
        "stages": {stage: STAGE_TITLES[stage] for stage in STAGES if any(stage in own for own in stages.values())},
        "both_stages": any(len(own) == len(STAGES) for own in stages.values()),
        "on_axis": [STAGE_TITLES[stage] for stage in stages_shown(chain for each in same for chain in each)],
        "protocols": _protocols(config, benchmarks),
        "training": [_training(config, name, inputs.training.get(name)) for name in checkpoints],
        "provenance": _provenance(inputs),
    }


def _provenance(inputs: Inputs) -> dict[str, Any]:
    """What the section "Can I trust it?" shows beside the trainings."""
    config, trainings = inputs.run.config, inputs.training.values()
    recipe, _ = nearest(config, inputs.presets)
    return {
        "rules": provenance.rule_costs(inputs.jobs, inputs.gpus),
        "jobs": inputs.jobs,
        "rulegraph": embedded(inputs.run.figures, "rulegraph"),
        "hardware": sorted({metrics["hardware"] for metrics in trainings if metrics.get("hardware")}),
        "machine": provenance.machine(),
        "versions": provenance.versions(trainings),
        "commit": provenance.commit(),
        "checksums": inputs.checksums,
        "curation": None if inputs.curation is None else provenance.flatten(inputs.curation),
        "recipe": recipe,
        "differences": provenance.differences(config, inputs.presets[recipe]),
        "commands": provenance.commands(inputs.targets, inputs.snakemake),
        "resolved": yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True, width=110),
    }


def _protocols(config: Mapping[str, Any], benchmarks: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    known = config["evaluation"]["protocols"]
    return [
        {
            "name": name,
            "suites": [suite for suite, protocol in benchmarks if protocol == name],
            "settings": known.get(name, {}),
            "explanation": REVEALED.get(known.get(name, {}).get("prompts"), ""),
        }
        for name in dict.fromkeys(protocol for _, protocol in benchmarks)
    ]


def _subject(model: Mapping[str, Any], suites: Sequence[Mapping[str, Any]]) -> str:
    """Say in a sentence which model was tested on what."""
    what = f"Base model: {visible(str(model['id']))}"
    if model["source"] == "made":
        what = f"Base model: a small {model['family']}, trained from scratch on synthetic scenes"
    tested = [
        f"{suite['name']} ({len(suite['datasets'])} set{'s' if len(suite['datasets']) != 1 else ''} of "
        f"{'synthetic scenes' if suite['made'] else 'photographs'})"
        for suite in suites
    ]
    return f"{what}. Tested on {' and '.join(tested)}."


def _suite(config: Mapping[str, Any], suite: str) -> dict[str, Any]:
    names = config["evaluation"]["suites"].get(suite, [])
    entries = [config["datasets"].get(name, {}) for name in names]
    return {
        "name": suite,
        "datasets": [shorten(name, 48) for name in names],
        "made": any("scenes" in entry for entry in entries),
    }


def _stages(config: Mapping[str, Any], experiment: str) -> dict[str, dict[str, Any]]:
    """Return what each GRPO stage of an experiment rewards, and what it starts from; empty where it has none."""
    found: dict[str, dict[str, Any]] = {}
    for name in chain_of(config, experiment):
        arm, stage = split_checkpoint(name)
        if stage in STAGES:
            merged = experiment_config(config, arm)
            reward = reward_of(merged, merged[stage])
            parts = rewarded_parts(criterion_of(reward), merged["grpo"].get("reward_weights"))
            found[stage] = reward | {"parts": parts, "start": parent_checkpoint(config, name)}
    return found


def _training(config: Mapping[str, Any], name: str, metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    place = Checkpoint.of(name)
    return {"checkpoint": place, "seed": seed_of(config, name), "metrics": metrics}


def _scores(columns: Sequence[Column], rows: Sequence[ScoreRow]) -> dict[str, Any]:
    """Return a table of scores for the page, with the highest of our own values in each column."""
    own = [[row.cells[number].value for row in rows if not row.published] for number in range(len(columns))]
    return {"columns": columns, "groups": column_groups(columns), "rows": rows, "best": list(map(_best, own))}


def _audit(folder: Path) -> dict[str, Any] | None:
    """Return the audit's summary and figures, None where there is none."""
    if not (folder / "summary.json").is_file():
        return None
    summary = read_json(folder / "summary.json")
    configured = [reward for reward in summary["rewards"] if reward["checkpoints"]]
    reference = [reward for reward in summary["rewards"] if not reward["checkpoints"]]
    # Where no reward is configured, the first figure is of the published ones, and a second one would repeat it.
    return summary | {
        "configured": configured or reference,
        "reference": reference,
        "figure": embedded(folder, "rewards"),
        "references": embedded(folder, "references") if configured else None,
    }


def _best(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
