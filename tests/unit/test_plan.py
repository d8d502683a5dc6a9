"""The plan of a run: reasons, hours from benchmark files, estimates, price."""

from dataclasses import replace

import pytest

from vision_r1.files import UserError
from vision_r1.preflight.plan import Job, estimates_of, gpu_hours, measured_seconds, page, reasons


def job(rule="train_sft", reason="Code has changed since last execution", gpus=8, benchmark=None, **wildcards):
    return Job(rule, reason, gpus, benchmark, wildcards or {"sft": "sft"})


def test_hours_come_from_the_last_run_other_jobs_or_the_preflight_in_this_order(tmp_path):
    file = tmp_path / "sft.tsv"
    file.write_text("s\th:m:s\n1800.0\t0:30:00\n")
    assert gpu_hours(job(benchmark=str(file)), {}, {"sft": 99.0}) == (4.0, "its last run")
    assert gpu_hours(job(benchmark="none"), {"train_sft": 900.0}, {"sft": 99.0}) == (2.0, "other runs of the rule")
    assert gpu_hours(job(sft="sft_s2"), {}, {"sft": 99.0}) == (99.0, "preflight")
    assert gpu_hours(job(sft="mine_s2/sft"), {}, {"sft": 99.0, "mine/sft": 12.0}) == (12.0, "preflight")
    stage = job("train_grpo", experiment="strict_s1", stage="grpo_stage1")
    assert gpu_hours(stage, {}, {"strict/grpo_stage1": 64.0}) == (64.0, "preflight")
    assert gpu_hours(job(gpus=0), {}, {}) == (0.0, "no GPU")
    assert gpu_hours(job(), {}, {}) is None


def test_a_restored_jobs_benchmark_file_does_not_count(tmp_path):
    (tmp_path / "sft.tsv").write_text("s\n15\n")
    record = tmp_path / "metrics.json"
    training = replace(
        job(benchmark=str(tmp_path / "sft.tsv"), reason="Input files updated by another job: x"), record=record
    )
    assert gpu_hours(training, {}, {"sft": 99.0}) == (99.0, "preflight") and "restored" not in page(
        [training], {}, None, "EUR"
    )
    record.write_text('{"seconds": 1800.0}')
    assert gpu_hours(training, {}, {"sft": 99.0}) == (4.0, "its last run")
    assert "What finds its inputs unchanged when its turn comes is restored" in page([training], {}, None, "EUR")


def test_an_invalid_benchmark_file_is_named(tmp_path):
    (tmp_path / "odd.tsv").write_text("x\n1\n")
    with pytest.raises(UserError, match="odd.tsv: not a Snakemake benchmark file"):
        measured_seconds(job(benchmark=str(tmp_path / "odd.tsv")))


def test_reasons_are_grouped_in_one_line_per_type():
    same = [
        job(reason="Missing output files: a, b; Input files updated by another job: c"),
        job(reason="Missing output files: d"),
        job(reason="Params have changed since last execution"),
    ]
    assert reasons(same) == [
        "Missing output files: a and 2 more",
        "Input files updated by another job: c",
        "Params have changed since last execution",
    ]


def test_the_page_sums_up():
    text = page([job(), job(gpus=0, rule="score_suite"), job(rule="other")], {"sft": 10.0}, 2.5, "EUR")
    assert "train_sft x 1: 10.00 GPU-hours (preflight)" in text
    assert "of 1 nothing is known" in text
    assert text.endswith("Together 10.00 GPU-hours, 25.00 EUR, without the 1 unknown.\n")
    assert page([], {}, None, "EUR") == "Nothing would run.\n"


def test_minutes_of_jobs_without_a_gpu(tmp_path):
    (tmp_path / "sft.tsv").write_text("s\n120\n")
    ran, new = job(gpus=0, benchmark=tmp_path / "sft.tsv"), job(gpus=0, rule="train_grpo")
    table = {"machine": "2 cores", "seconds": {"train_grpo": 60.0, "train_sft": 9.0}}
    text = page([ran, new, job(gpus=0, rule="other")], {}, None, "EUR", table)
    assert "about 3.0 minutes (earlier runs here, measured on 2 cores); nothing is known of 1 more." in text
    assert text.endswith("No job needs a GPU.\n") and "GPU-hours" not in text
    assert page([new], {}, None, "EUR").endswith("Nothing is known of their time: no earlier run.\n")


def test_a_predictions_share_of_the_preflights_hours():
    summary = {
        "trainings": [{"name": "sft", "gpu_hours": 4.0}, {"name": "strict/grpo_stage1"}],
        "prediction": {
            "gpu_hours": 12.0,
            "checkpoints": 6,
            "prompts": [{"suite": "coco"}, {"suite": "odinw13"}, {"suite": "odinw13"}],
        },
    }
    assert estimates_of(summary) == {"sft": 4.0, "predict_suite": 1.0}
