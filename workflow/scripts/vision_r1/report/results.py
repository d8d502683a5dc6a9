"""Scores of all checkpoints as one long table: a record per checkpoint, suite, protocol and data set."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from vision_r1.evaluation.bootstrap import AP_METRICS
from vision_r1.evaluation.coco_ap import METRICS
from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import BASE, SFT, STAGES, split_training_seed
from vision_r1.files import UserError, read_json, read_text, write_text
from vision_r1.report.text import as_csv, csv_name

STAGE_TITLES = {BASE: "base", SFT: "SFT", "grpo_stage1": "stage 1", "grpo_stage2": "stage 2"}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's place in the chain, read from its name.

    name: as in vision_r1.experiments; experiment: "" for base and the SFT baseline; stage: base | sft |
    grpo_stage1 | grpo_stage2; training_seed: 0 where the name has none.
    """

    name: str
    experiment: str
    stage: str
    training_seed: int

    @classmethod
    def of(cls, name: str) -> "Checkpoint":
        """Read a checkpoint's name. Raises UserError on one that is not of the forms above."""
        arm, _, stage = name.partition("/")
        arm, training_seed = split_training_seed(arm)
        if stage in (SFT, *STAGES) and arm not in (BASE, SFT, ""):
            return cls(name, arm, stage, training_seed)
        if not stage and (arm == SFT or name == BASE):
            return cls(name, "", arm, training_seed)
        stages = "|".join((SFT, *STAGES))
        raise UserError(f"checkpoint {name!r}: unknown form; give base, sft or <experiment>/<{stages}>")

    @property
    def title(self) -> str:
        """The name for readers, without the training seed."""
        return f"{self.experiment} {STAGE_TITLES[self.stage]}".strip()


@dataclass(frozen=True)
class Result:
    """One line of the results table. AP and AR are 0..1, None where missing; other numbers are counts.

    dataset: a data set's name, or MEAN over the suite's data sets (counts are summed there);
    AP_low, AP_high: 95 % bootstrap interval over images; AP_<score policy>: AP with that policy's scores,
    AP_constant_...: its expectation and range over orders of equal scores;
    verdicts: "verdict=count" joined by spaces; incomplete: data sets without predictions, on MEAN
    lines; delta: AP minus the base model's, delta_low, delta_high: its 95 % interval, p_holm: corrected,
    significant: yes, no or "" where nothing was compared, and the same of AP50 and AP75 on MEAN lines; source: the
    metrics file.
    """

    chain_seed: int
    checkpoint: str
    experiment: str
    stage: str
    training_seed: int
    suite: str
    protocol: str
    dataset: str
    AP: float | None = None
    AP50: float | None = None
    AP75: float | None = None
    APs: float | None = None
    APm: float | None = None
    APl: float | None = None
    AR1: float | None = None
    AR10: float | None = None
    AR100: float | None = None
    ARs: float | None = None
    ARm: float | None = None
    ARl: float | None = None
    AP_low: float | None = None
    AP_high: float | None = None
    AP_constant: float | None = None
    AP_constant_expected: float | None = None
    AP_constant_lowest: float | None = None
    AP_constant_highest: float | None = None
    AP_order: float | None = None
    AP_token_probability: float | None = None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    p_holm: float | None = None
    significant: str = ""
    AP50_delta_low: float | None = None
    AP50_delta_high: float | None = None
    AP50_significant: str = ""
    AP75_delta_low: float | None = None
    AP75_delta_high: float | None = None
    AP75_significant: str = ""
    images: int | None = None
    ground_truth: int | None = None
    predictions: int | None = None
    prompts: int | None = None
    truncated: int | None = None
    verdicts: str = ""
    score_policy: str = ""
    incomplete: str = ""
    source: str = ""


COUNTS = ("images", "ground_truth", "predictions", "prompts", "truncated")
RESULT_COLUMNS = {field.name: field.type for field in fields(Result)}


def of_metrics(path: str | Path, checkpoint: str, suite: str, chain_seed: int) -> list[Result]:
    """Read one metrics file of score_suite.py: per protocol a MEAN line, then a line per data set.

    Raises UserError when the file is missing, belongs to another suite or lacks a key.
    """
    metrics, place = read_json(path), Checkpoint.of(checkpoint)
    try:
        if metrics["suite"] != suite:
            raise UserError(f"{path}: has suite {metrics['suite']!r}, not {suite!r}, of {checkpoint}; score it again")
        common = {
            "chain_seed": chain_seed,
            "checkpoint": checkpoint,
            "experiment": place.experiment,
            "stage": place.stage,
            "training_seed": place.training_seed,
            "suite": suite,
            "score_policy": metrics["score_policy"],
            "source": str(path),
        }
        return [
            result
            for protocol, scores in metrics["protocols"].items()
            for result in _of_protocol(scores, {**common, "protocol": protocol})
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a metrics file of score_suite.py ({error!r}); write it again") from None


def _of_protocol(scores: Mapping[str, Any], common: Mapping[str, Any]) -> list[Result]:
    datasets = scores["datasets"]
    if MEAN in datasets:
        raise UserError(f"{common['source']}: a data set is named {MEAN!r}, reserved for the average; rename it")
    lines = [
        Result(
            **common,
            dataset=name,
            verdicts=" ".join(f"{verdict}={count}" for verdict, count in sorted(values["answers"]["verdicts"].items())),
            **{key: values.get(key) for key in METRICS},
            **{key: values["counts"].get(key) for key in COUNTS},
            **_certainty(values["interval"], values["score_policies"]),
        )
        for name, values in datasets.items()
    ]
    sums = {key: _total(getattr(line, key) for line in lines) for key in COUNTS}
    mean = scores["mean"] or {}
    incomplete = " ".join(scores["incomplete"])
    head = Result(
        **common,
        dataset=MEAN,
        incomplete=incomplete,
        **sums,
        **{key: mean.get(key) for key in AP_METRICS},
        **_certainty(scores["mean_interval"] or {}, scores["mean_score_policies"] or {}),
    )
    return [head, *lines]


def _certainty(interval: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    low, high = interval.get("AP") or (None, None)
    names = {f"AP_{name.replace('-', '_')}": values["AP"] for name, values in policies.items()}
    ties = policies.get("constant", {}).get("ties", {}).get("AP") or {}
    orders = {"expected": "expected", "lowest": "low", "highest": "high"}
    return {
        **{"AP_low": low, "AP_high": high, **names},
        **{f"AP_constant_{name}": ties.get(key) for name, key in orders.items()},
    }


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def with_differences(results: Iterable[Result], comparison: Mapping[str, Any]) -> list[Result]:
    """Add each checkpoint's difference to the base model, as compare_checkpoints.py wrote it."""
    lines = {
        tuple(line[key] for key in ("checkpoint", "suite", "protocol", "dataset", "metric")): line
        for line in comparison["lines"]
        if line["reference"] == BASE and line["difference"] is not None
    }

    def compared(result: Result) -> Result:
        numbers: dict[str, Any] = {}
        for metric in AP_METRICS:
            line = lines.get((result.checkpoint, result.suite, result.protocol, result.dataset, metric))
            if line is None:
                continue
            start = "" if metric == "AP" else f"{metric}_"
            numbers |= {f"{start}delta_low": line["low"], f"{start}delta_high": line["high"]}
            numbers[f"{start}significant"] = "yes" if line["significant"] else "no"
            if metric == "AP":
                numbers |= {"delta": line["difference"], "p_holm": line["p_holm"]}
        return replace(result, **numbers)

    return [compared(result) for result in results]


def write_csv(path: str | Path, results: Sequence[Result]) -> None:
    """Write the results table."""
    write_text(path, as_csv(RESULT_COLUMNS, map(astuple, results)), sealed=True)


def read_csv(path: str | Path) -> list[Result]:
    """Read what `write_csv` wrote. Raises UserError naming the file and line."""
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    results = []
    for number, row in enumerate(rows, start=2):
        try:
            results.append(Result(**{key: _parse(row[key], kind) for key, kind in RESULT_COLUMNS.items()}))
        except (KeyError, ValueError, TypeError) as error:
            raise UserError(f"{path}: line {number}: {error!r}; make it again with tabulate_results.py") from None
    return results


def _parse(cell: str, kind: Any) -> str | int | float | None:
    if kind is str:
        return csv_name(cell)
    if cell == "" and kind is not int:
        return None
    return float(cell) if kind == float | None else int(cell)


def headlines(benchmarks: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return suite -> its headline, the first of its protocols; benchmarks: (suite, protocol)."""
    first: dict[str, str] = {}
    for suite, protocol in benchmarks:
        first.setdefault(suite, protocol)
    return first


def pairs(results: Iterable[Result]) -> list[tuple[str, str]]:
    """List (suite, protocol) in their order of appearance; the first one is the primary benchmark."""
    return list(dict.fromkeys((result.suite, result.protocol) for result in results))


def lookup(results: Iterable[Result]) -> dict[tuple[str, str, str, str], Result]:
    """Index the results by (checkpoint, suite, protocol, dataset)."""
    return {(result.checkpoint, result.suite, result.protocol, result.dataset): result for result in results}


def first_seed(results: Sequence[Result]) -> list[str]:
    """List the checkpoints of the base model and of the first training seed, in their order of appearance."""
    seeds = [result.training_seed for result in results if result.stage != BASE]
    return list(
        dict.fromkeys(
            result.checkpoint for result in results if result.stage == BASE or result.training_seed == seeds[0]
        )
    )


def sft_before(chain: Sequence[str]) -> str | None:
    """Return the SFT checkpoint from which a chain's GRPO started: SFT's part of the gain isn't GRPO's."""
    return next((name for name in chain[:-1] if Checkpoint.of(name).stage == SFT), None)


def stages_shown(chains: Iterable[Sequence[str]]) -> list[str]:
    """List the stages that stand on an axis after base: SFT only where GRPO started from it, or nothing trains GRPO."""
    chains = list(chains)
    trained = {Checkpoint.of(name).stage for chain in chains for name in chain}
    of_grpo = [stage for stage in STAGES if stage in trained]
    sft = any(map(sft_before, chains)) or (SFT in trained and not of_grpo)
    return [*([SFT] if sft else []), *of_grpo]
