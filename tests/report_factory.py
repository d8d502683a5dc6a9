"""Made-up inputs of the report in the pipeline's formats: scores, histories, predictions, images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vision_r1 import run_folder
from vision_r1.evaluation.box_errors import ERROR_KINDS
from vision_r1.experiments import merge
from vision_r1.prompts import DEFAULT
from vision_r1.report.datasheet import describe
from vision_r1.report.results import of_metrics, write_csv

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


def comparison() -> dict[str, Any]:
    """What compare_checkpoints.py writes if SFT is better in the mean and worse on one data set."""
    about = {"checkpoint": "sft", "reference": "base", "suite": "odinw13", "protocol": "released-present"}
    numbers = {"value": 0.5, "reference_value": 0.3, "p": 0.002, "p_holm": 0.004, "significant": True, "metric": "AP"}
    numbers |= {"objects": 1608}
    mean = {**about, **numbers, "dataset": "mean", "difference": 0.2, "low": 0.15, "high": 0.25, "regression": False}
    lines = [
        mean,
        {**mean, "metric": "AP50", "difference": 0.22, "low": 0.12, "high": 0.3},
        {**about, **numbers, "dataset": "crowd", "difference": -0.1, "low": -0.15, "high": -0.05, "regression": True},
    ]
    return {"note": "Intervals cover the choice of test images.", "reference": "base", "tables": {"sft": lines}}


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
            "disclosures": ["The base model was trained on coarse labels on purpose."],
        },
        "experiments": {"strict": {}, "released_2025": {"reward": {"criterion": "released_2025"}}},
        "datasets": {name: {"scenes": {}} for names in [["scenes_train"], *SUITES.values()] for name in names},
    }


def checksums() -> list[dict[str, Any]]:
    """What checksum_inputs.py writes."""
    return [{"name": "training file", "files": 1, "bytes": 2_048, "sha256": "a" * 64}]


def make_hostile(run: "Run", text: str) -> None:
    """Put a text, and labels and names of 10,000 characters, wherever foreign text can get into a run's report."""
    long, name = "long " * 2 + "z" * 10_000, text.replace("/", "|")[:80]

    def named(path: str) -> str:
        return str(Path(path).with_name(name + path[-8:]))

    suites = {"coco": [text], "odinw13": [text, long]}
    run.configure(
        {
            "report": {"title": text, "banner": text, "disclosures": [text, long]},
            "sft": {text: text, long: long},
            "datasets": {name: {"annotations": str(run.annotations)} for name in (text, long)},
            "evaluation": {"suites": suites},
        }
    )
    images = json.loads(run.annotations.read_text())
    images["categories"][0]["name"] = text
    images["categories"][1]["name"] = long
    for record in images["images"]:
        file = run.annotations.parent / "images" / record["file_name"]
        record["file_name"] = file.rename(named(str(file))).name
    write(run.annotations, images)
    rows = [json.loads(line) for line in run.train_file().open()]
    write_lines(run.train_file(), [{**row, "image": named(row["image"])} for row in rows])
    for suite, names in suites.items():
        for checkpoint in CHECKPOINTS:
            write(run.metrics(checkpoint, suite), metrics(0.3, 1400, suite, names))
        for checkpoint in GALLERY:
            lines = [json.loads(line) for line in run.predictions(checkpoint, "coco").open()]
            labels = [text, long, "\u202eabc\u2066", "\ud800", '=1+1|","'] * len(lines)
            for number, (line, label) in enumerate(zip(lines, labels, strict=False)):
                line |= {"dataset": names[-1], "protocol": PROTOCOLS[suite][0], "prompt": label + text}
                line["file_name"] = named(line["file_name"])
                line["categories"] = [label, *LABELS]
                line["completion"] = json.dumps([{"bbox_2d": [1, 1, 9e4, 60], "label": label}] * (number + 1)) + text
            write_lines(run.predictions(checkpoint, suite), lines)
    compared = json.loads(run.comparison.read_text())
    compared["note"] = compared["tables"]["sft"][0]["suite"] = compared["tables"]["sft"][1]["dataset"] = text
    write(run.comparison, compared)
    write(run.anchors("all"), [{**line, "model": text, "source": long} for line in anchors()])
    write(run.curation(), {text: text, long: [long]})
    write(run.checksums, [{**line, "name": name} for line in checksums() for name in (text, long)])
    run.costs.mkdir(exist_ok=True)
    (run.costs / f"{name}.tsv").write_text("s\th:m:s\tmax_rss\n24.5\t0:00:24\t812.4\n")


class Run(run_folder.Run):
    """A run with its files under `folder`, as the workflow writes them; `changes` override its configuration."""

    def __init__(self, folder: Path, images: int = 12, changes: dict[str, Any] | None = None) -> None:
        super().__init__(folder, merge(config(), changes or {}))
        write(self.settings, self.config)
        self.seed = np.random.default_rng(7)
        for number, name in enumerate(self.checkpoints):
            for suite, names in self.config["evaluation"]["suites"].items():
                ap = AP.get(name, 0.3 + 0.05 * (number % 7)) - (0.0 if suite == "coco" else 0.1)
                write(self.metrics(name, suite), metrics(ap, BOXES.get(name, 1500), suite, names))
            stage = 2 if name.endswith("2") else 1
            rows = (
                history(stage, seed=number // 4)
                if "/" in name
                else [{"step": s, "loss": 0.5 + 2 * float(np.exp(-s / 40))} for s in range(10, 160, 10)]
            )
            write_lines(self.history(name), rows)
            write(self.training(name), self._training(name, len(rows)))
        write(self.comparison, comparison())
        write(self.anchors("all"), anchors())
        write(self.checksums, checksums())
        write(self.curation(), {"samples": {"detection": 1800, "grounding": 900, "negative": 300}})
        self._scenes(images)
        self._audit()
        self._train_file()

    @property
    def annotations(self) -> Path:
        """The test scenes' annotations, which the other data sets share."""
        return Path(self.place("scenes_test", "annotations"))

    @property
    def words(self) -> list[str]:
        """The arguments of a program that gathers results."""
        return ["--run", str(self.folder)]

    def configure(self, changes: dict[str, Any]) -> None:
        """Override keys of the run's configuration."""
        self.config = merge(self.config, changes)
        write(self.settings, self.config)

    def tabulate(self, *pairs: tuple[str, str]) -> None:
        """Write the table of results for some (checkpoint, suite) only, as if nothing else had been measured."""
        write_csv(self.results, [line for pair in pairs for line in of_metrics(self.metrics(*pair), *pair, 0)])

    def _training(self, name: str, steps: int) -> dict[str, Any]:
        return {
            "stage": name.rpartition("/")[2],
            "steps": steps,
            "seconds": 105.5,
            "peak_rss_mb": 1812.3,
            "hardware": "AMD EPYC, 2 cores",
            "parameters": 1310720,
            "samples_seen": 2400,
            "versions": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"},
            "final": {"loss": 0.01},
        }

    def _audit(self) -> None:
        hole = {"role": "reference", "criterion": "paper, stage1", "family": "spam", "strength": 1.0}
        rewards = [
            {"name": "strict/grpo_stage1", "checkpoints": ["strict/grpo_stage1"], "published": None, "spearman": 0.87},
            {"name": "paper, stage1", "checkpoints": [], "published": "paper, stage1", "spearman": 0.51},
        ]
        loopholes = [hole | {"ap_fall": 0.778, "reward_fall": 0.0}]
        summary = {"samples": 200, "seed": 0, "rewards": rewards, "loopholes": loopholes}
        write(self.audit / "summary.json", summary)
        for name in ("rewards", "references"):
            (self.audit / f"{name}.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><defs></defs></svg>")

    def _train_file(self) -> None:
        """Write training rows about the test scenes, and their datasheet: enough for a page."""
        truth = json.loads(self.annotations.read_text())
        rows = []
        for record in truth["images"]:
            own = [item for item in truth["annotations"] if item["image_id"] == record["id"]]
            objects = [
                {"bbox": [x, y, x + w, y + h], "label": LABELS[item["category_id"] - 1]}
                for item in own
                for x, y, w, h in [item["bbox"]]
            ]
            about = {"image": str(self.annotations.parent / "images" / record["file_name"]), "categories": list(LABELS)}
            frame = {"width": 84, "height": 84, "input_width": 84, "input_height": 84, "frame": "pixel"}
            answer = DEFAULT.answer([item["bbox"] for item in objects], [item["label"] for item in objects])
            about |= {"system": None, "prompt": "Locate every item", "answer": answer}
            about |= {"task": "detection", "source_id": f"scenes_train/{record['id']}"}
            tokens = {"prompt_tokens": 20, "image_tokens": 9, "answer_tokens": 17}
            rows.append(about | frame | tokens | {"objects": objects, "num_instances": len(objects)})
        write_lines(self.train_file(), rows)
        curation = {"datasets": ["scenes_train"], "images": {"read": 12}, "objects": {"read": 24}, "short": []}
        curation["notes"] = []
        curation["samples"] = {"detection": {"asked": len(rows), "written": len(rows)}}
        leaks = {"train_images": 12, "benchmark_images": 4, "leaks": {"same_pixels": 0}}
        write(self.datasheet, describe(rows, curation, leaks, {"scenes_train": "made here"}))

    def _scenes(self, count: int) -> None:
        records: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        predictions: dict[str, list[dict[str, Any]]] = {name: [] for name in CHECKPOINTS}
        for number in range(count):
            width, height, total = 84, 84, 1 + number % 3
            corners = self.seed.integers(2, 45, (total, 2))
            boxes = np.hstack([corners, corners + self.seed.integers(16, 36, (total, 2))]).astype(float)
            labels = [LABELS[(number + place) % 3] for place in range(total)]
            pixels = np.full((height, width, 3), 235, np.uint8)
            for (x1, y1, x2, y2), label in zip(boxes.astype(int), labels, strict=True):
                pixels[y1:y2, x1:x2] = ((200, 80, 60), (60, 120, 200), (90, 170, 90))[LABELS.index(label)]
            path = self.annotations.parent / "images" / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            records.append({"id": number, "file_name": path.name, "width": width, "height": height})
            for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
                objects.append(
                    {
                        "id": len(objects) + 1,
                        "image_id": number,
                        "category_id": LABELS.index(label) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": 0,
                    }
                )
            for rank, name in enumerate(CHECKPOINTS):
                noise = self.seed.normal(0, (5, 1, 3, 1.5, 3, 2)[rank], boxes.shape)
                predictions[name].append(
                    {
                        "dataset": "scenes_test",
                        "protocol": "released-one-prompt",
                        "image_id": number,
                        "file_name": str(path),
                        "prompt": "Locate every item",
                        "categories": list(LABELS),
                        "width": width,
                        "height": height,
                        "input_width": 84,
                        "input_height": 84,
                        "frame": "pixel",
                        "completion": completion(boxes + noise, labels),
                        "num_tokens": 18,
                        "truncated": False,
                    }
                )
        categories = [{"id": number, "name": name} for number, name in enumerate(LABELS, start=1)]
        for name in self.tested:
            content = {"images": records, "annotations": objects, "categories": categories}
            write(Path(self.place(name, "annotations")), content)
        for name, rows in predictions.items():
            write_lines(self.predictions(name, "coco"), rows)
            # The other suite's data sets have the same images under other names.
            shifted = [
                {**row, "dataset": each, "protocol": PROTOCOLS["odinw13"][0]}
                for each in self.config["evaluation"]["suites"]["odinw13"]
                for row in rows
            ]
            write_lines(self.predictions(name, "odinw13"), shifted)
