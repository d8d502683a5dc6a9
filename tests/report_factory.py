"""Made-up inputs of the report in the pipeline's formats: scores, histories, completions, a configuration."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vision_r1.evaluation.box_errors import ERROR_KINDS
from vision_r1.report.results import Result, of_metrics

CHECKPOINTS = (
    "base",
    "sft",
    "strict/grpo_stage1",
    "strict/grpo_stage2",
    "released_2025/grpo_stage1",
    "released_2025/grpo_stage2",
)
AP = dict(zip(CHECKPOINTS, (0.361, 0.561, 0.466, 0.513, 0.425, 0.383), strict=True))
BOXES = dict(zip(CHECKPOINTS, (1434, 1570, 1490, 1505, 1795, 2211), strict=True))
SUITES = {"coco": ["scenes_test"], "odinw13": ["thermal", "tiny", "crowd", "wide"]}
PROTOCOLS = {"coco": ["released-one-prompt", "all-categories"], "odinw13": ["released-present", "all-categories"]}
GALLERY = ("base", "sft", "strict/grpo_stage2")
LABELS = ("circle", "square", "triangle")


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def policies(ap: float) -> dict[str, Any]:
    """What score_suite.py writes about score policies."""
    ties = {"AP": {"expected": ap, "low": ap - 0.01, "high": ap + 0.01}}
    return {name: {"AP": ap, "ties": ties} for name in ("constant", "order", "token-probability")}


def metrics(ap: float, boxes: int, suite: str, names: list[str] | None = None) -> dict[str, Any]:
    """Scores of one checkpoint on one suite, as score_suite.py writes them."""
    protocols = {}
    for shift, protocol in enumerate(PROTOCOLS[suite]):
        datasets = {}
        for number, name in enumerate(names or SUITES[suite]):
            own = round(max(0.01, ap * (1 - 0.12 * number) - 0.05 * shift), 4)
            datasets[name] = {
                "AP": own,
                "AP50": round(own + 0.3, 4),
                "AP75": round(own + 0.02, 4),
                "APl": None,
                "AR100": round(own + 0.1, 4),
                "interval": {"AP": [round(own - 0.03, 4), round(own + 0.03, 4)]},
                "score_policies": policies(own),
                "counts": {"images": 400, "ground_truth": 1608, "predictions": boxes, "prompts": 400, "truncated": 1},
                "errors": {kind: {"count": 48, "cost": 0.056} for kind in ERROR_KINDS},
                "slices": {
                    "size": {"small": {"AP": own - 0.1}, "medium": {"AP": own}, "large": {"AP": own + 0.1}},
                    "objects": {"0": {"AP": None}, "1": {"AP": own}, "2 to 5": {"AP": own - 0.07}},
                },
                "answers": {"verdicts": {"list": 398, "empty": 2}},
                "per_category": dict.fromkeys(LABELS, own),
            }
        mean = {key: sum(values[key] for values in datasets.values()) / len(datasets) for key in ("AP", "AP50", "AP75")}
        protocols[protocol] = {
            "mean": mean,
            "mean_interval": {"AP": [mean["AP"] - 0.02, mean["AP"] + 0.02]},
            "mean_score_policies": policies(mean["AP"]),
            "precision_recall": {"0.50": [1.0, 0.9, 0.0], "0.75": [0.9, 0.5, 0.0]},
            "incomplete": [],
            "datasets": datasets,
        }
    return {"suite": suite, "score_policy": "constant", "protocols": protocols}


def results_of(folder: Path, scores: Mapping[str, float], suites: Sequence[str] = tuple(SUITES)) -> list[Result]:
    """Return the results of checkpoints with these APs on every benchmark of `suites`."""
    return [
        result
        for name, ap in scores.items()
        for suite in suites
        for result in of_metrics(
            write(folder / name / f"{suite}.json", metrics(ap, BOXES.get(name, 1500), suite)), name, suite, 0
        )
    ]


def comparison() -> dict[str, Any]:
    """What compare_checkpoints.py writes if SFT is better in the mean and worse on one data set.

    On the first benchmark, it compares the chain's end with every other checkpoint of the chain.
    """
    about = {"checkpoint": "sft", "reference": "base", "suite": "odinw13", "protocol": "released-present"}
    numbers = {"value": 0.5, "reference_value": 0.3, "p": 0.002, "p_holm": 0.004, "significant": True, "metric": "AP"}
    numbers |= {"objects": 1608}
    mean = {**about, **numbers, "dataset": "mean", "difference": 0.2, "low": 0.15, "high": 0.25, "regression": False}
    lines = [
        mean,
        {**mean, "metric": "AP50", "difference": 0.22, "low": 0.12, "high": 0.3},
        {**about, **numbers, "dataset": "crowd", "difference": -0.1, "low": -0.15, "high": -0.05, "regression": True},
    ]
    end = {**mean, "checkpoint": GALLERY[-1], "suite": "coco", "protocol": PROTOCOLS["coco"][0]}
    for other in CHECKPOINTS[:3]:
        change = AP[GALLERY[-1]] - AP[other]
        between = {"value": AP[GALLERY[-1]], "reference_value": AP[other], "difference": change}
        lines.append({**end, **between, "reference": other, "low": change - 0.02, "high": change + 0.02})
    return {"note": "Intervals cover the choice of test images.", "lines": lines}


def anchors() -> list[dict[str, Any]]:
    """What check_anchors.py writes."""
    about = {
        "model": "Qwen2.5-VL-7B",
        "id": "Qwen/Qwen2.5-VL-7B-Instruct",
        "checkpoint": "base",
        "suite": "coco",
        "protocol": "released-one-prompt",
        "dataset": "mean",
        "metric": "AP",
    }
    numbers = {"value": 0.177, "tolerance": 0.01, "measured": 0.181, "source": "table 1", "status": "reproduced"}
    numbers |= {"recipe": "paper"}
    return [{**about, **numbers}, {**about, **numbers, "measured": None, "status": "not run"}]


def history(stage: int, seed: int = 0, steps: int = 100, every: int = 5) -> list[dict[str, Any]]:
    """What TRL logs in one GRPO stage, including the last line, which has no rewards."""
    rng = np.random.default_rng((stage, seed))
    rows = []
    for step in range(every, steps + 1, every):
        rise = (step / steps) ** 0.5
        parts = [0.98, 0.55 + (0.25 - 0.05 * seed) * rise - 0.15 * (stage - 1), 0.45 + 0.3 * rise - 0.2 * (stage - 1)]
        parts = [float(part + rng.normal(0, 0.015)) for part in parts]
        rows.append(
            {
                "step": step,
                "loss": float(rng.normal(0, 0.01)),
                "reward": sum(parts),
                "group_reward_std": 0.3 - 0.1 * rise,
                "rewards/dual_format/mean": parts[0],
                "rewards/recall/mean": parts[1],
                "rewards/precision/mean": parts[2],
                "completions/mean_length": 18 + float(rng.normal(0, 0.3)),
                "entropy": 1.5 - 0.2 * rise,
                "frac_reward_zero_std": 0.1,
                "verdicts/fenced": 0.95,
                "verdicts/not_json": 0.05 * (1 - rise),
            }
        )
    return [*rows, {"step": steps, "train_runtime": 105.5}]


def completion(boxes: np.ndarray, labels: list[str]) -> str:
    items = [
        {"bbox_2d": [round(float(v)) for v in box], "label": label} for box, label in zip(boxes, labels, strict=True)
    ]
    return f"```json\n{json.dumps(items)}\n```"


def config() -> dict[str, Any]:
    """The keys of a resolved configuration that the report reads."""
    stages = {
        "grpo_stage1": {"init": "base", "recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
        "grpo_stage2": {"init": "grpo_stage1", "recall_threshold": 0.75, "precision_low": 0.75, "precision_high": 0.9},
    }
    prompts = {
        "released-one-prompt": "all-in-one",
        "released-present": "per-present-category",
        "all-categories": "per-category",
    }
    return {
        "run": "miniature",
        "seed": 0,
        "reward": {"criterion": "strict"},
        "model": {"family": "qwen2_5_vl", "source": "made", "id": None},
        "base": {"steps": 1900, "exact_steps": 1700, "grow": 0.08, "jitter": 0.05, "drop": 0.3},
        "data": {"train": ["scenes_train"], "detection": 12, "grounding": 0, "rec": 0, "negative": 0},
        "lora": None,
        "sft": {},
        "grpo": {"refinement": "restart"},
        **stages,
        "evaluation": {
            "suites": SUITES,
            "suite_protocols": PROTOCOLS,
            "protocols": {name: {"prompts": way, "max_new_tokens": 40} for name, way in prompts.items()},
        },
        "report": {
            "title": "Vision-R1 in miniature",
            "experiments": ["strict", "released_2025"],
            "training_seeds": [0],
            "suites": list(SUITES),
            "banner": "Miniature: not comparable with the paper's numbers.",
            "disclosures": ["The strength of some shifts was chosen."],
        },
        "experiments": {"strict": {}, "released_2025": {"reward": {"criterion": "released_2025"}}},
        "datasets": {name: {"scenes": {}} for names in [["scenes_train"], *SUITES.values()] for name in names},
    }


def checksums() -> list[dict[str, Any]]:
    """What checksum_inputs.py writes."""
    return [{"name": "training file", "files": 1, "bytes": 2_048, "sha256": "a" * 64}]
