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


def test_the_time_of_a_training_grows_with_its_steps(tmp_path):
    record = tmp_path / "metrics.json"
    record.write_text('{"seconds": 90.0, "steps": 10}')
    changed = "Params have changed since last execution: before: 10 now: 6000"
    again = replace(job(reason=changed), record=record, steps=6000)
    source = "time per step of its last run"
    assert gpu_hours(again, {}, {"sft": 99.0}) == (120.0, source)
    text = page([again, replace(job(sft="sft_s1"), steps=600)], {}, None, "EUR")
    assert f"train_sft x 2: 132.00 GPU-hours ({source}, time per step of other runs of the rule)" in text
    base = replace(job("make_base_model", changed, gpus=0), record=record, steps=200)
    assert (base.checkpoint, measured_seconds(base)) == ("base", 1800.0)
    new = replace(job("train_grpo", gpus=0), steps=40)
    ran = replace(new, record=record, steps=20)
    assert "about 39.0 minutes (earlier runs here)" in page([base, ran, new], {}, None, "EUR")


def test_changed_parameters_of_unknown_effect_are_not_priced_at_the_last_run(tmp_path):
    (tmp_path / "run.tsv").write_text("s\n1800\n")
    changed = job("predict_suite", "Params have changed since last execution", benchmark=tmp_path / "run.tsv")
    assert gpu_hours(changed, {}, {"predict_suite": 3.0}) == (3.0, "preflight")
    assert "of 1 nothing is known: no earlier run with these settings" in page([changed], {}, None, "EUR")
    record = tmp_path / "metrics.json"
    record.write_text('{"seconds": 1800.0, "steps": 10}')
    assert gpu_hours(replace(job(reason=changed.reason), record=record), {}, {}) is None
    assert measured_seconds(replace(changed, gpus=0)) == 1800.0  # minutes of other jobs may be rough


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
