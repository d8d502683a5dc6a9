"""A made-up run for tests of the report: a folder with its files, as the workflow writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from report_factory import (
    AP,
    BOXES,
    CHECKPOINTS,
    GALLERY,
    LABELS,
    PROTOCOLS,
    anchors,
    checksums,
    comparison,
    completion,
    config,
    history,
    metrics,
    write,
    write_lines,
)

from vision_r1 import run_folder
from vision_r1.experiments import merge
from vision_r1.prompts import DEFAULT
from vision_r1.report.datasheet import describe
from vision_r1.report.results import of_metrics, write_csv


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


def make_hostile(run: Run, text: str) -> None:
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
    compared["note"] = compared["lines"][0]["suite"] = compared["lines"][1]["dataset"] = text
    write(run.comparison, compared)
    write(run.anchors("all"), [{**line, "model": text, "source": long} for line in anchors()])
    write(run.curation(), {text: text, long: [long]})
    write(run.checksums, [{**line, "name": name} for line in checksums() for name in (text, long)])
    run.costs.mkdir(exist_ok=True)
    (run.costs / f"{name}.tsv").write_text("s\th:m:s\tmax_rss\n24.5\t0:00:24\t812.4\n")
