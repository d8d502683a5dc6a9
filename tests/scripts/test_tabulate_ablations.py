"""The ablations' table and figure, from made-up metrics: measured, missing and failed arms."""

import csv
import os
import time

import configurations
import numpy as np
import pytest
import tabulate_ablations

from vision_r1.evaluation.compare import write_resamples
from vision_r1.experiments import merge
from vision_r1.files import UserError, write_json
from vision_r1.run_folder import Run

SECTION = {"experiments": ["strict", "beginner_only", "without_recall"], "training_seeds": [0, 1, 2]}
AP = {"base": 0.3, "sft": 0.6, "strict": 0.5, "beginner_only": 0.47, "without_recall": 0.5}
SEEDS = {"": 0.0, "_s1": 0.03, "_s2": -0.02}
SHIFT = {("beginner_only", "_s1"): 0.004, ("without_recall", "_s2"): 0.06}


class Ablations:
    """A run's files, with made-up metrics."""

    def __init__(self, root, folder, **changes):
        self.folder = folder
        self.config = merge(configurations.load(root, "miniature"), {"ablations": SECTION, **changes})
        write_json(folder / "config.json", self.config)
        write_json(folder / "data/curation.json", {"rows": 2910})
        self.words = ["--run", str(folder), "--config", str(root / "config")]
        noise = np.random.default_rng(0).normal(0, 0.02, 500)
        for name, value in AP.items():
            for seed, shift in SEEDS.items() if name != "base" else [("", 0.0)]:
                checkpoint = f"{name}{seed}" if name in ("base", "sft") else f"{name}{seed}/grpo_stage2"
                own = value + shift + SHIFT.get((name, seed), 0)
                first, second = self.config["report"]["suites"]
                self._write(checkpoint, first, own, noise)
                self._write(checkpoint, second, own / 2, noise)

    def _write(self, checkpoint, suite, value, noise):
        protocols = self.config["evaluation"]["suite_protocols"][suite]
        for _, output, _ in Run.read(self.folder).jobs(checkpoint):
            if not output.exists():
                write_json(output, {})
        mean = {"AP": value, "AP50": min(1, value + 0.2), "AP75": value}
        metrics, resamples = (
            self.folder / f"metrics/{checkpoint}/{suite}.{kind}" for kind in ("json", "resamples.npz")
        )
        write_json(metrics, {"suite": suite, "protocols": {name: {"mean": mean} for name in protocols}})
        write_resamples(
            resamples, {name: {metric: {"set": mean[metric] + noise} for metric in mean} for name in protocols}
        )

    def remove(self, checkpoint, *suites, untrained=()):
        for suite in suites:
            for kind in ("json", "resamples.npz"):
                (self.folder / f"metrics/{checkpoint}/{suite}.{kind}").unlink()
            (self.folder / f"predictions/{checkpoint}/{suite}.jsonl").unlink()
        for name in untrained:
            (self.folder / f"models/{name}/metrics.json").unlink()

    def table(self, *words):
        tabulate_ablations.main([*self.words, *words])
        self.stem = "ablations_partial" if "--partial" in words else "ablations"
        return (self.folder / f"tables/{self.stem}.md").read_text()

    def lines(self):
        with (self.folder / f"tables/{self.stem}.csv").open(newline="") as file:
            return {
                tuple(row[key] for key in ("experiment", "suite", "protocol", "metric")): row
                for row in csv.DictReader(file)
            }


@pytest.fixture
def made(root, tmp_path):
    return Ablations(root, tmp_path)


def test_mean_spread_and_paired_differences(made):
    text = made.table()
    assert "Miniature: shows that the chain works" in text.replace("\\", "")
    line = made.lines()["beginner_only", "shapes", "released-one-prompt", "AP"]
    assert float(line["mean"]) == pytest.approx(0.47 + 0.0046667, abs=1e-6) and line["seeds"] == "3"
    assert float(line["difference"]) == pytest.approx(-0.03 + 0.004 / 3)
    assert float(line["difference_high"]) < 0 and float(line["p"]) < float(line["p_holm"]) < 0.01
    assert float(line["images_low"]) == pytest.approx(-0.03 + 0.004 / 3)  # both arms have the noise of the same images
    unsure = made.lines()["without_recall", "shapes", "released-one-prompt", "AP"]
    assert float(unsure["difference"]) == pytest.approx(0.02) and float(unsure["p"]) > 0.05
    assert made.lines()["strict", "shapes", "released-one-prompt", "AP"]["difference"] == ""
    assert "| strict | strict | dual format + recall + precision | yes | 0.5 to 0.75 | 3 | 50.3 ± 2.5 |" in text
    assert "| without\\_recall | strict | dual format + precision | yes | 0.5 to 0.75 | 3 |" in text
    assert "| beginner\\_only | strict | dual format + recall + precision | yes | 0.5 | 3 |" in text
    for name in ("tables/ablations.tex", "figures/ablations.svg", "figures/ablations.png"):
        assert (made.folder / name).stat().st_size > 500


def test_a_method_is_described_by_criterion_parts_and_weights(root):
    from vision_r1.report.ablations import method_of

    config = configurations.load(root, "miniature")
    assert method_of(config, "perception_r1") == ("perception_r1", "0.25 format + 0.75 f1 + label + iou", "–", "–")
    assert method_of(config, "without_recall_with_count")[1] == "dual format + precision + count"
    assert method_of(config, "base") == ("–",) * 4


def test_different_budgets_are_reported(root, tmp_path):
    section = {"experiments": ["strict", "after_sft", "sft_matched"]}
    config = merge(configurations.load(root, "miniature"), {"ablations": section})
    write_json(tmp_path / "config.json", config)
    from vision_r1.preflight.batches import budget, training_batches
    from vision_r1.report.ablations import budget_sheet

    batches = training_batches(config, lambda _: 2910, section["experiments"])
    budgets = {name: budget(config, batches, name) for name in section["experiments"]}
    assert budget_sheet(budgets, "strict").lines == (
        ("strict", 200, 3200, 25600, "equal"),
        ("after_sft", 350, 6800, 25600, "steps not equal, prompts not equal"),
        ("sft_matched", 200, 3200, 0, "completions not equal"),
    )


def test_an_experiment_with_a_training_file_of_its_own_has_its_own_budget(root):
    from vision_r1.preflight.batches import budget, training_batches

    epochs = {"max_steps": -1, "num_train_epochs": 1}
    config = merge(configurations.load(root, "miniature"), {"grpo_stage1": epochs, "grpo_stage2": epochs})
    config["experiments"]["half_data"] = {"data": {"budget": 1600}}
    rows = {"strict": 3200, "half_data": 1600}
    batches = training_batches(config, lambda arm: rows.get(arm, 3200), [*rows])
    assert [budget(config, batches, name).prompts for name in rows] == [6400, 3200]


def test_a_failed_arm_is_shown_with_its_cause_among_the_others(made):
    stopped = "without_recall_s1/grpo_stage2"
    made.remove(stopped, "shapes", "shapes13", untrained=[stopped])
    made.remove("beginner_only_s2/grpo_stage2", "shapes13")
    log = made.folder / "logs/train_grpo/without_recall_s1/grpo_stage2.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 1\nerror: training stopped at step 1: truncated is 1.00; <b>raise</b> completion_room\n\n")
    text = made.table("--partial")
    assert "error: training stopped at step 1: truncated is 1.00; \\<b\\>raise\\</b\\> completion\\_room |" in text
    assert "| without\\_recall | 1 | train\\_grpo: error" in text
    assert "| beginner\\_only | 2 | waiting for predict\\_suite |" in text
    assert "| 2 of 3 |" in text
    assert made.lines()["without_recall", "shapes", "released-one-prompt", "AP"]["seeds"] == "2"
    assert float(made.lines()["strict", "shapes", "released-one-prompt", "AP"]["seeds"]) == 3


def test_numbers_of_an_earlier_training_are_not_shown(made):
    """A changed experiment is trained again: what was measured before is still there, but not of these weights."""
    (made.folder / "models/without_recall_s1/grpo_stage2/metrics.json").unlink()  # as after a failure
    later = time.time() + 10
    for file in (
        "models/beginner_only_s2/grpo_stage2/metrics.json",
        "models/strict_s1/grpo_stage2/metrics.json",
        "predictions/strict_s1/grpo_stage2/shapes.jsonl",  # answered again, but not scored
        "predictions/strict_s1/grpo_stage2/shapes13.jsonl",
    ):
        os.utime(made.folder / file, (later, later))
    text = made.table("--partial")
    assert "| without\\_recall | 1 | waiting for train\\_grpo |" in text
    assert "| beginner\\_only | 2 | waiting for predict\\_suite |" in text
    assert "| strict | 1 | waiting for score\\_suite |" in text
    assert made.lines()["without_recall", "shapes", "released-one-prompt", "AP"]["seeds"] == "2"


@pytest.mark.parametrize("log, word", [(None, "waiting"), ("step 1", "unfinished")])
def test_an_experiment_without_numbers_waits_until_its_first_job_starts(made, log, word):
    for seed in SEEDS:
        stages = [f"without_recall{seed}/grpo_stage{number}" for number in (1, 2)]
        made.remove(stages[1], "shapes", "shapes13", untrained=stages)
    if log:
        path = made.folder / "logs/train_grpo/without_recall_s1/grpo_stage1.log"
        path.parent.mkdir(parents=True)
        path.write_text(log)
    text = made.table("--partial")
    assert f"| 0 of 3 | {word} |" in text and "| without\\_recall | 0 | waiting for train\\_grpo |" in text
    assert made.lines()["without_recall", "shapes", "released-one-prompt", "AP"]["mean"] == ""


@pytest.mark.parametrize("reference", ["strict", "half_data"])
def test_an_experiment_waits_for_a_training_file_of_its_own(root, tmp_path, reference):
    own = {"half_data": {"data": {"budget": 1600}}}
    section = {"experiments": sorted(["strict", "half_data"], key=lambda name: name != reference)}
    made = Ablations(root, tmp_path, experiments=own, ablations=section)
    with pytest.raises(UserError, match=r"metrics/half_data/grpo_stage2/shapes\.json: no such file"):
        made.table()
    text = made.table("--partial")
    assert "| half\\_data | waiting | waiting | waiting | waiting |" in text
    assert f"| strict | 200 | 3,200 | 25,600 | {'equal' if reference == 'strict' else 'waiting'} |" in text


def test_a_single_training_seed_has_a_difference_without_an_interval_over_seeds(made):
    for seed in ("_s1", "_s2"):
        made.remove(f"beginner_only{seed}/grpo_stage2", "shapes", "shapes13")
    line = "| beginner\\_only | shapes | released-one-prompt | −3.0 | – | – | – | – | −3.0 | −3.0 |"
    assert line in made.table("--partial")


def test_a_missing_file_is_an_error(made):
    made.remove("strict/grpo_stage2", "shapes")
    with pytest.raises(UserError, match=r"strict/grpo_stage2/shapes\.json: no such file"):
        made.table()


def test_the_papers_numbers_are_shown_only_with_the_papers_configuration(root, tmp_path):
    paper = configurations.load(root, "paper")
    paper["report"]["banner"] = None
    paper["ablations"] = {**SECTION, "experiments": ["strict", "without_recall"]}
    made = Ablations(root, tmp_path, **paper)
    assert "| published: base | – | – | – | – | – | 17.7 | 27.3 | 18.0 | 37.0 |" in made.table()
    assert "published: step_1" not in (tmp_path / "tables/ablations.md").read_text()  # not among the experiments
