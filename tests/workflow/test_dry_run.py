"""What each configuration would run, and Snakemake's own checks."""

import json
import re
import subprocess
import sys

import pytest
import yaml
from configurations import CONFIGURATIONS, ON_GPUS

DATA = {"index_images": 1, "find_leaks": 1, "curate_train": 1, "render_datasheet": 1}
CHAIN = DATA | {
    "train_sft": 1,
    "audit_rewards": 1,
    "compare_checkpoints": 1,
    "check_anchors": 1,
    "tabulate_results": 1,
    "plot_results": 1,
    "checksum_inputs": 1,
    "draw_rulegraph": 1,
    "render_report": 1,
    "release_checkpoint": 3,
    "all": 1,
}


def test_miniature(project, root):
    planned = project.planned()
    # The time left that `make demo` shows includes every job.
    expected = json.loads((root / "benchmarks/results/demo.json").read_text())["seconds"]
    assert expected.keys() == planned.keys() - {"all"}
    assert planned == CHAIN | {
        "make_scenes": 15,
        "make_processor": 1,
        "make_base_model": 1,
        "train_grpo": 4,
        "predict_suite": 12,
        "score_suite": 12,
    }


def test_paper(project):
    assert project.planned("--configfile", "config/paper.yaml") == CHAIN | {
        "download_archive": 23,  # COCO, RefCOCO, 17 of ODinW, and gRefCOCO's two files, which are not archives
        "unpack_archive": 21,
        "check_dataset": 46,  # ODinW's train, valid and test splits
        "fetch_processor": 1,
        "fetch_base_model": 1,
        "train_grpo": 3,  # step_1_2 resumes step_1's stage 1
        "predict_suite": 10,
        "score_suite": 10,
        "check_anchors": 2,  # the gate before GRPO, and the report's
    }


def test_released_data_and_test_splits(project):
    suites = {"suites": {"odinw13": ["odinw_pothole_test"]}, "suite_protocols": {"odinw13": ["all-categories"]}}
    overlay = project.overlay({"evaluation": suites})
    files = ["config/paper.yaml", "config/released_data.yaml", overlay]
    assert project.planned("--configfile", *files, "--", "data") == DATA | {
        "download_archive": 19,  # ODinW's valid and test splits are kept out, whatever is tested
        "unpack_archive": 19,
        "check_dataset": 31,
        "fetch_processor": 1,
        "fetch_released_data": 1,
        "data": 1,
    }


@pytest.mark.slow
def test_sources_of_the_paper_s_mixture_are_switched(project):
    """V3Det if its images are here, Visual Genome in place of gRefCOCO; unused sources aren't downloaded."""
    (project.folder / "v3det").mkdir()
    genome = {"data": {"rec": {"grefcoco": 0, "visual_genome": 5000}}}
    here = {"datasets": {"v3det_train": {"images": "v3det"}}}

    def planned(values):
        jobs = project.planned("--configfile", "config/paper.yaml", project.overlay(values), "--", "data")
        return jobs["download_archive"], jobs["unpack_archive"], jobs["check_dataset"]

    assert planned({}) == (23, 21, 46)
    assert planned(here) == (24, 21, 47)
    assert planned(genome) == (25, 25, 47)
    words = ["--configfile", "config/paper.yaml", project.overlay(here), "--dry-run", "--printshellcmds", "--", "data"]
    commands = project.snakemake(*words).stdout
    curation = next(line for line in commands.splitlines() if "curate_train.py" in line)
    assert "--source coco v3det_train results/downloads/v3det_annotations.json v3det" in curation
    assert "--grounding 4000 v3det_train" in curation and "--note" not in curation
    assert "--detection 30000 coco_train2017 " in curation and "--hold_out_from coco_train2017" in curation
    words[1:3] = ["config/paper.yaml"]
    commands = project.snakemake(*words).stdout
    curation = next(line for line in commands.splitlines() if "curate_train.py" in line)
    assert "v3det_train has no image folder" in curation and "--grounding 8500 odinw_aerial" in curation


@pytest.mark.slow
def test_the_selection_split_is_a_suite(project):
    jobs = project.planned("results/miniature/metrics/base/selection.json")
    made = {"make_scenes": 15, "make_processor": 1, "make_base_model": 1, "predict_suite": 1, "score_suite": 1}
    assert jobs == {name: count for name, count in (DATA | made).items() if name != "render_datasheet"}
    assert project.planned("--", "selection")["score_suite"] == 6


@pytest.mark.parametrize("name", [name for name in ON_GPUS if name != "paper"])
def test_every_configuration_for_gpus_is_planned(project, name):
    jobs = project.planned("--configfile", *CONFIGURATIONS[name], "--", "models")
    trained = {"upstream_2026": 2, "released_2025": 4}.get(name, 3)
    assert jobs["fetch_base_model"] == jobs["train_sft"] == 1
    assert jobs["train_grpo"] == trained


def test_a_plan_writes_nothing(project):
    """Neither in a fresh folder nor in a run's, where jobs may be reading settings and code stamps."""
    project.snakemake("--dry-run")
    assert not (project.folder / "results").exists()
    project.snakemake("--", "preflight")

    def state():
        files = [path for path in (project.folder / "results").rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = state()
    assert {path.name for path in before} >= {"config.json", "train_grpo.yaml", "preflight.txt"}
    rewards = project.folder / "workflow/scripts/vision_r1/rewards.py"
    rewards.write_text(rewards.read_text() + "EDITED = True\n")
    overlay = project.overlay({"seed": 0, "guards": {"patience": 7}, "grpo_stage2": {"precision_high": 0.95}})
    project.snakemake("--dry-run", "--configfile", overlay, "--", "all", "ablations")
    assert state() == before


@pytest.mark.slow
def test_preflight_makes_nothing_else_and_always_runs(project):
    """It makes neither data nor a model, and prints its page each time."""
    for _ in range(2):
        output = project.snakemake("--configfile", "config/paper.yaml", "--", "preflight").stdout
        assert "Preflight of paper" in output and "step_1_2/grpo_stage2: completions end at" in output
        assert sorted(path.name for path in (project.folder / "results/paper").iterdir()) == [
            *("config.json", "logs", "preflight", "watch")
        ]


@pytest.mark.slow
def test_preflight_names_what_stops_the_run(project):
    overlay = project.overlay({"preflight": {"gpu_memory_gib": 24}})
    words = ["--configfile", "config/paper.yaml", overlay, "--", "preflight"]
    finished = project.snakemake(*words, check=False)
    assert finished.returncode == 1
    assert "error: preflight found 4 problems: sft needs about" in finished.stdout
    assert "Traceback" not in finished.stdout


@pytest.mark.parametrize("option", ["--profile", "--workflow-profile"])
@pytest.mark.parametrize("profile", ["slurm", "local_gpus"])
def test_between_machines_only_the_profile_changes(project, option, profile):
    words = ["--configfile", "config/paper.yaml", "--", "models"]
    planned = project.planned(option, f"profiles/{profile}", *words)
    assert planned["train_sft"] == 1 and planned["train_grpo"] == 3


@pytest.mark.slow
def test_the_plan_of_a_run_names_reasons_hours_and_cost(project):
    overlay = project.overlay({"preflight": {"price_per_gpu_hour": 2, "currency": "EUR"}})

    def plan(*words, folder=project.folder):
        program = [sys.executable, project.folder / "workflow/scripts/plan_run.py", *words]
        return subprocess.run(program, cwd=folder, capture_output=True, text=True)

    text = plan("--configfile", "config/paper.yaml", overlay).stdout
    hours, cost = re.search(r"Together ([\d.]+) GPU-hours, ([\d.]+) EUR, without the 10 unknown", text).groups()
    assert float(hours) > 100 and float(cost) == pytest.approx(2 * float(hours), abs=0.02)
    assert re.search(r"train_sft x 1: [\d.]+ GPU-hours \(preflight\)\n  Missing output files: ", text)
    wrong = plan("--config", "runn=x")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: config: top level: unknown key 'runn'") and not wrong.stdout
    assert not (project.folder / "results").exists()
    # From a folder without a Snakefile, with -d, after a run of fewer steps.
    outside, metrics = project.folder / "outside", project.folder / "results/paper/models/sft/metrics.json"
    outside.mkdir()
    (metrics.parent / "model").mkdir(parents=True)
    (metrics.parent / "model/config.json").write_text('{"model_type": "qwen2_5_vl"}')
    metrics.write_text(json.dumps({"seconds": 90.0, "steps": 10}))
    (outside / "mine.yaml").write_text("sft: { max_steps: 6000 }\n")
    text = plan("-d", "..", "--configfile", "../config/paper.yaml", "mine.yaml", folder=outside).stdout
    assert "train_sft x 1: 120.00 GPU-hours (time per step of its last run)" in text
    assert [path.name for path in outside.iterdir()] == ["mine.yaml"]


@pytest.mark.slow
def test_grpo_at_the_paper_s_scale_waits_for_the_base_model_s_anchors(project):
    target = ["--", "results/paper/models/step_1/grpo_stage1/metrics.json"]
    jobs = project.planned("--configfile", "config/paper.yaml", *target)
    assert {name: jobs[name] for name in ("predict_suite", "score_suite", "check_anchors")} == {
        "predict_suite": 2,
        "score_suite": 2,
        "check_anchors": 1,
    }
    gate = ["--dry-run", "--printshellcmds", "--configfile", "config/paper.yaml"]
    assert (
        " --scope gate --stop --output_json results/paper/anchors/gate.json" in project.snakemake(*gate, *target).stdout
    )
    overlay = project.overlay({"evaluation": {"anchors": "warn"}})
    warned = project.snakemake(*gate, overlay, *target).stdout
    assert " --stop " not in warned and "--output_json results/paper/anchors/gate.json" in warned
    overlay = project.overlay({"evaluation": {"anchors": "none"}})
    assert "check_anchors" not in project.planned("--configfile", "config/paper.yaml", overlay, *target)
    assert project.planned("--configfile", "config/paper.yaml", "--", "anchors")["predict_suite"] == 2


def test_a_prediction_on_two_nodes(project):
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", "16"]
    overlay = project.overlay({"compute": {"launch_predict": launch, "predict_suite": {"gpu": 16, "nodes": 2}}})
    words = ["--dry-run", "--printshellcmds", "--configfile", "config/paper.yaml", overlay]
    printed = project.snakemake(*words, "--", "results/paper/predictions/base/coco.jsonl").stdout
    assert f"--gpus 16 --nodes 2 -- {' '.join(launch)} workflow/scripts/predict_suite.py" in printed


def test_training_seeds_share_data_and_base(project):
    jobs = project.planned("--configfile", project.overlay({"report": {"training_seeds": [0, 1, 2]}}))
    assert jobs == CHAIN | {
        "make_scenes": 15,
        "make_processor": 1,
        "make_base_model": 1,
        "train_sft": 3,
        "train_grpo": 12,
        "predict_suite": 32,
        "score_suite": 32,
        "release_checkpoint": 9,
    }


def test_a_shared_stage_1_is_trained_once(project):
    overlay = project.overlay(
        {
            "experiments": {"longer": {"grpo_stage2": {"init": "strict/grpo_stage1", "max_steps": 200}}},
            "report": {"experiments": ["strict", "released_2025", "longer"]},
        }
    )
    target = "results/miniature/models/longer/grpo_stage2/metrics.json"
    jobs = project.planned("--configfile", overlay, "--", target)
    assert jobs == {
        **{"make_scenes": 15, "make_processor": 1, "index_images": 1, "find_leaks": 1, "curate_train": 1},
        "make_base_model": 1,
        "train_grpo": 2,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config", "grpo={learning_rate: 1e-6}"], "error: config: grpo.learning_rate: '1e-6' is text"),
        (["--config", "report={experiments: [nope]}"], "error: config: report.experiments: 'nope' is not"),
        (["--config", "runn=x"], "error: config: top level: unknown key 'runn'"),
        (
            ["--config", "grpo_stage1={init: nope}"],
            "error: config: experiments.strict.grpo_stage1.init: unknown checkpoint",
        ),
        (
            ["--config", "datasets={mine: {annotations: nowhere.json, images: nowhere}}", "data={train: [mine]}"],
            "error: config: datasets.mine.annotations: no such path 'nowhere.json'",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line_before_any_job(project, words, message):
    finished = project.snakemake("--dry-run", *words, check=False)
    assert finished.returncode == 1
    (line,) = [line for line in finished.stdout.splitlines() if "error" in line.lower()]
    assert line.startswith(message)
    assert "Traceback" not in finished.stdout


def test_a_checkpoint_that_nothing_trains_is_refused(project):
    target = "results/miniature/metrics/nope/grpo_stage1/shapes.json"
    finished = project.snakemake("--dry-run", "--", target, check=False)
    assert finished.returncode == 1 and "Missing input files for rule predict_suite" in finished.stdout
    assert "results/miniature/models/nope/grpo_stage1/model" in finished.stdout


def test_lint(project):
    assert "Congratulations" in project.snakemake("--lint").stdout


@pytest.mark.slow
def test_no_command_of_a_large_study_is_longer_than_linux_takes(project):
    """Every experiment with five training seeds, in the report and as ablations, on 14 suites."""
    experiments = yaml.safe_load((project.folder / "config/experiments.yaml").read_text())["experiments"]
    study = {"experiments": [name for name in experiments if name != "sft_matched"], "training_seeds": list(range(5))}
    evaluation = yaml.safe_load((project.folder / "config/config.yaml").read_text())["evaluation"]
    names = evaluation["suites"]["shapes"] + evaluation["suites"]["shapes13"]
    protocols = evaluation["suite_protocols"]["shapes13"]
    suites = {"suites": {name: [name] for name in names}, "suite_protocols": dict.fromkeys(names, protocols)}
    overlay = project.overlay({"report": {**study, "suites": names}, "ablations": study, "evaluation": suites})
    plan = project.snakemake(
        "--dry-run", "--printshellcmds", "--configfile", overlay, "--", "all", "ablations", "preflight"
    )
    assert "train_grpo " in plan.stdout
    commands = [line for line in plan.stdout.splitlines() if "python workflow/scripts/" in line]
    assert [command[:80] for command in commands if len(command) >= 128 * 1024] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "sft", "grpo", "suites"),
    [
        ("table_1", 1, 2, 6),  # base, SFT and STEP = 1, on COCO and ODinW-13
        ("table_2", 1, 2, 3 + 2),  # the same out of domain; the gate needs the base model's COCO and ODinW-13
        ("table_3", 0, 4, 2 + 2),
        ("table_4", 0, 4, 3 + 1),
        ("table_5", 0, 5, 3 + 2),
        ("table_9", 1, 2, 3 + 1),
        ("table_10", 0, 3, 3 + 1),
    ],
)
def test_each_table_of_the_paper_is_a_target(project, table, sft, grpo, suites):
    planned = project.planned("--configfile", "config/paper.yaml", "--", table)
    assert (planned["tabulate_published"], planned[table]) == (1, 1)
    assert {name: planned.get(name, 0) for name in ("train_sft", "train_grpo")} == {
        "train_sft": sft,
        "train_grpo": grpo,
    }
    assert planned["score_suite"] == planned["predict_suite"] == suites
    # The miniature's model is not the paper's, so its table contains only the published numbers.
    assert project.planned("--", table) == {"tabulate_published": 1, table: 1}
