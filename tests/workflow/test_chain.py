"""The whole chain, run once with small numbers: outputs, what reruns and what doesn't, interruption, hostile names."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest
from project import SMOKE, Project, copy_project

from vision_r1.experiments import STAGES

# Outputs that show the configuration: the report, and the cards of the two final checkpoints.
REPORTING = {"tabulate_results": 1, "plot_results": 1, "draw_rulegraph": 1, "render_report": 1, "all": 1}
REPORTING |= {"release_checkpoint": 2}
SCORED = REPORTING | {"compare_checkpoints": 1, "check_anchors": 1}
ALL_SCORED = SCORED | {"score_suite": 8}


@pytest.fixture
def edited(chain):
    """Edit files of the chain's folder, and restore them at the end."""
    before = {}

    def change(name, old="", new="", end=""):
        path = chain.folder / name
        text = before.setdefault(path, path.read_text())
        assert old in text, path
        path.write_text(text.replace(old, new, 1) + end)

    yield change
    for path, text in before.items():
        path.write_text(text)


def test_the_report_and_every_checkpoint_are_there(chain):
    results = chain.folder / "results/smoke"
    assert "</html>" in (results / "report/index.html").read_text()
    checkpoints = ("base", "sft", "strict/grpo_stage1", "strict/grpo_stage2")
    for checkpoint in checkpoints:
        metrics = json.loads((results / "metrics" / checkpoint / "shapes.json").read_text())
        assert set(metrics["protocols"]) == {"released-one-prompt", "all-categories"}
    for checkpoint in ("sft", "strict/grpo_stage2"):
        assert (results / "release" / checkpoint / "README.md").read_text().startswith("---\nlanguage: en\n")
    # Each training changed its model; otherwise equal weights after an interruption would prove nothing.
    assert len({digest(chain.folder, f"models/{name}/model/model.safetensors") for name in checkpoints}) == 4
    # A finished stage no longer needs its trainer state, but keeps links to its outputs.
    assert {path.name for path in results.glob("models/**/state/*")} == {"finished"}


def test_a_second_run_has_nothing_to_do(chain):
    assert "Nothing to be done" in chain.snakemake(*SMOKE).stdout


@pytest.mark.parametrize(
    "lost, rule", [("tables/results.csv", "tabulate_results"), ("audit/rewards.png", "audit_rewards")]
)
def test_a_deleted_table_or_figure_is_made_again(chain, lost, rule):
    file = chain.folder / "results/smoke" / lost
    file.rename(file.with_suffix(".kept"))
    try:
        assert chain.planned(*SMOKE)[rule] == 1
    finally:
        file.with_suffix(".kept").rename(file)


def test_a_single_file_is_a_target(chain):
    target = "results/smoke/models/strict/grpo_stage2/metrics.json"
    kept = chain.folder / "kept.json"
    shutil.move(chain.folder / target, kept)
    try:
        assert chain.planned(*SMOKE, "--", target) == {"train_grpo": 1}
    finally:
        shutil.move(kept, chain.folder / target)


def test_a_stage_2_threshold_reruns_stage_2_and_what_follows(chain):
    jobs = chain.planned(*SMOKE, chain.overlay({"grpo_stage2": {"precision_high": 0.95}}))
    assert jobs == SCORED | {"audit_rewards": 1, "train_grpo": 1, "predict_suite": 2, "score_suite": 2}


def test_settings_of_tracking_retrain_nothing(chain):
    overlay = chain.overlay({"guards": {"patience": 7, "kl": 0.5}, "logging": {"sample_steps": 3}})
    # The page shows the configuration, and the pipeline's figure depends on the command.
    assert chain.planned(*SMOKE, overlay) == {"draw_rulegraph": 1, "render_report": 1, "all": 1}


def test_an_edit_of_the_scorer_reruns_scoring_but_not_prediction(chain, edited):
    edited("workflow/scripts/vision_r1/evaluation/coco_ap.py", end="EDITED = True\n")
    assert chain.planned(*SMOKE) == ALL_SCORED | {"audit_rewards": 1}


def test_another_reader_or_score_policy_reruns_scoring_but_not_prediction(chain):
    protocol = {"protocols": {"all-categories": {"reader": "released_2025"}}}
    assert chain.planned(*SMOKE, chain.overlay({"evaluation": protocol})) == ALL_SCORED
    policy = {"evaluation": {"score_policy": "order"}}
    assert chain.planned(*SMOKE, chain.overlay(policy)) == ALL_SCORED


def test_grpo_waited_for_the_base_model_s_anchors_once(chain):
    """Neither a new score of the base model (above) nor a stricter gate retrains anything."""
    results = chain.folder / "results/smoke"
    gate, trained = results / "anchors/gate.json", results / "models/strict/grpo_stage1/metrics.json"
    assert gate.stat().st_mtime < trained.stat().st_mtime
    stop = chain.overlay({"evaluation": {"anchors": "stop"}})
    assert chain.planned(*SMOKE, stop) == REPORTING


def test_every_checkpoint_is_compared_with_base_its_start_and_sft(chain):
    results = chain.folder / "results/smoke"
    comparison = json.loads((results / "tables/comparison.json").read_text())
    compared = [(line["checkpoint"], line["reference"]) for line in comparison["lines"]]
    first, second = "strict/grpo_stage1", "strict/grpo_stage2"
    of_grpo = [*((first, other) for other in ("base", "sft")), *((second, other) for other in ("base", first, "sft"))]
    assert list(dict.fromkeys(compared)) == [("sft", "base"), *of_grpo]
    lines = [line for line in comparison["lines"] if line["checkpoint"] == "sft" and line["metric"] == "AP"]
    assert [line["dataset"] for line in lines if line["suite"] == "shapes13"][:4] == [
        "mean",
        "thermal",
        "wide",
        "large",
    ]
    statuses = {anchor["status"] for anchor in json.loads((results / "anchors/all.json").read_text())}
    assert statuses == {"not run"}


def test_an_edit_of_the_rewards_retrains_grpo_but_not_sft(chain, edited):
    edited("workflow/scripts/vision_r1/rewards.py", end="EDITED = True\n")
    jobs = chain.planned(*SMOKE)
    assert jobs == SCORED | {
        "audit_rewards": 1,
        "train_grpo": 2,
        "predict_suite": 4,
        "score_suite": 4,
    }


def test_comments_and_docstrings_rerun_nothing(chain, edited):
    folder = chain.folder / "workflow/scripts"
    for path in folder.rglob("*.py"):
        edited(path.relative_to(chain.folder), '"""', '"""Another word: ', end="# A comment.\n")
    for path in (chain.folder / "rules").glob("*.smk"):
        edited(path.relative_to(chain.folder), '"""', '"""Another word: ')
    assert chain.planned(*SMOKE) == {}


@pytest.mark.slow
def test_frozen_code_protects_a_run_from_edits(chain, edited):
    edited("workflow/scripts/vision_r1/rewards.py", end="EDITED = True\n")
    chain.snakemake(*SMOKE, "--", "preflight")  # another program's run leaves these stamps alone
    edited("config/config.yaml", "freeze_code: false", "freeze_code: true")
    # The page shows the configuration, in which the key has changed; the file is that of a published recipe, which the
    # model cards are compared with.
    assert chain.planned(*SMOKE) == REPORTING
    edited("rules/curate.smk", "python {SCRIPTS}/curate_train.py", "python -u {SCRIPTS}/curate_train.py")
    triggers = ["--rerun-triggers", "mtime", "params", "input"]
    assert chain.planned(*SMOKE, *triggers) == REPORTING


def test_all_programs_ran_in_the_environment_of_environment_yml(chain, conda_or_skip):
    (environment,) = [path for path in (chain.folder / ".snakemake/conda").iterdir() if (path / "bin").is_dir()]
    started = [line.split() for line in Path(conda_or_skip["CONDA_TEST_PYTHONS"]).read_text().splitlines()]
    programs = {
        Path(word).name: prefix for prefix, *words in started for word in words if word.startswith("workflow/scripts/")
    }
    stages = {
        "curate_train",
        "make_base_model",
        "train_sft",
        "train_grpo",
        "predict_suite",
        "score_suite",
        "render_report",
    }
    assert {f"{stage}.py" for stage in stages} <= programs.keys()
    assert set(programs.values()) == {str(environment)}


@pytest.mark.slow
def test_conda_and_plain_runs_see_each_others_results_as_current(chain, tmp_path):
    """A stand-in for conda answers Snakemake's questions before a dry run."""
    conda = tmp_path / "bin/conda"
    conda.parent.mkdir()
    conda.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "--version) echo conda 99.0.0 ;;\n"
        f'*info*) echo \'{{"conda_prefix": "{tmp_path}", "platform": "linux-64"}}\' ;;\n'
        '*config*) echo \'{"get": {"channel_priority": "strict"}}\' ;;\n'
        "esac\n"
    )
    conda.chmod(0o755)
    environment = {**os.environ, "PATH": f"{conda.parent}:{os.environ['PATH']}"}
    assert chain.planned(*SMOKE, "--use-conda", env=environment) == {}


def digest(folder, name):
    return sha256((folder / "results/smoke" / name).read_bytes()).hexdigest()


@pytest.fixture
def before_grpo(chain, root, tmp_path):
    """A copy in which everything before GRPO has run, with Snakemake's records of it."""
    project = copy_project(root, tmp_path / "copy")
    for name in ("results", ".snakemake"):
        shutil.copytree(chain.folder / name, project.folder / name)
    shutil.rmtree(project.folder / "results/smoke/models/strict")
    return project


def test_results_without_snakemakes_notes_are_not_taken_for_those_of_another_configuration(chain, root, tmp_path):
    """As in a clone into which only results/ was copied: nothing would be trained, and the cards would be wrong."""
    project = copy_project(root, tmp_path / "copy")
    shutil.copytree(chain.folder / "results", project.folder / "results")
    assert project.planned(*SMOKE) == {}
    changed = [*SMOKE, project.overlay({"sft": {"learning_rate": 1e-5}})]
    refused = project.snakemake("--dry-run", *changed, check=False)
    assert refused.returncode == 1 and refused.stdout.splitlines()[-1].startswith(
        "error: results/smoke/data/train.jsonl: .snakemake has no note of what it was made with, and "
        "results/smoke/config.json differs from what it would be now. Copy .snakemake"
    )
    assert project.snakemake("--unlock", *changed).returncode == 0
    as_made = ["--configfile", "results/smoke/config.json"]
    project.snakemake("--touch", "--forceall", *as_made)
    assert project.planned(*as_made) == {}
    assert project.planned(*changed)["train_sft"] == 1


@pytest.mark.slow
def test_continuous_refinement_keeps_the_trainer_state(before_grpo):
    project, target = before_grpo, "results/smoke/models/strict/grpo_stage2/metrics.json"

    def overlay(**stage2):
        return [*SMOKE, project.overlay({"grpo": {"refinement": "continuous"}, "grpo_stage2": stage2}), "--", target]

    project.snakemake(*overlay())
    stages = project.folder / "results/smoke/models/strict"
    assert (stages / "grpo_stage1/checkpoint/optimizer.pt").is_file()
    assert [json.loads((stages / stage / "metrics.json").read_text())["steps"] for stage in STAGES] == [4, 4]
    assert [json.loads(line)["step"] for line in (stages / "grpo_stage2/history.jsonl").open()][-1] == 8
    assert project.planned(*overlay()) == {}
    assert project.planned(*overlay(precision_high=0.95)) == {"train_grpo": 1}
    # A longer stage 2 stretches the schedule of both stages.
    assert project.planned(*overlay(max_steps=6)) == {"train_grpo": 2}


@pytest.mark.slow
def test_a_run_killed_in_stage_1_finishes_with_the_same_weights(chain, before_grpo):
    project = before_grpo
    stage = project.folder / "results/smoke/models/strict/grpo_stage1"
    target = "results/smoke/models/strict/grpo_stage2/metrics.json"

    words = [sys.executable, "-m", "snakemake", "--cores", "2", *SMOKE, "--", target]
    run = subprocess.Popen(words, cwd=project.folder, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(stage.glob("state/*/checkpoint-*/complete.json")) and not (stage / "metrics.json").exists():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (stage / "metrics.json").exists(), "the stage ended before it could be killed"

    locked = project.snakemake(*SMOKE, "--", target, check=False)
    assert "--unlock" in locked.stdout
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    unlock = [sys.executable, "workflow/scripts/unlock_run.py"]
    subprocess.run(unlock, cwd=project.folder, env=environment, check=True)
    project.snakemake(*SMOKE, "--", target)
    assert "resuming from checkpoint-" in (stage.parents[2] / "logs/train_grpo/strict/grpo_stage1.log").read_text()
    for weights in ("strict/grpo_stage1/model/model.safetensors", "strict/grpo_stage2/model/model.safetensors"):
        assert digest(project.folder, f"models/{weights}") == digest(chain.folder, f"models/{weights}")


@pytest.mark.slow
def test_lost_outputs_are_restored_and_forced_ones_made_again(before_grpo):
    project, folder = before_grpo, before_grpo.folder / "results/smoke"
    for log, target in (
        ("train_sft/sft.log", "models/sft/metrics.json"),
        ("make_base_model.log", "models/base/metrics.json"),
        ("predict_suite/base/shapes.log", "predictions/base/shapes.jsonl"),
    ):
        before = digest(project.folder, target) if target.endswith(".jsonl") else None
        (folder / target).unlink()
        project.snakemake(*SMOKE, "--", f"results/smoke/{target}")
        assert "finished before" in (folder / "logs" / log).read_text()
        project.snakemake(*SMOKE, "--force", "--", f"results/smoke/{target}")
        logged = (folder / "logs" / log).read_text()
        assert "finished before" not in logged and "progress" in logged
        assert before is None or digest(project.folder, target) == before


def test_a_living_run_keeps_its_lock(project):
    """unlock_run.py must not unlock a folder in which a job is still running."""
    (project.folder / ".snakemake/locks").mkdir(parents=True)
    (project.folder / ".snakemake/locks/0.input.lock").write_text("results/miniature/data/train.jsonl\n")
    sleeper = "import time; time.sleep(60)"
    job = subprocess.Popen([sys.executable, "-c", sleeper, "workflow/scripts/train_grpo.py"], cwd=project.folder)
    try:
        unlock = [sys.executable, "workflow/scripts/unlock_run.py"]
        finished = subprocess.run(unlock, cwd=project.folder, capture_output=True, text=True)
        assert finished.returncode == 1
        assert f"a run is still at work here, or may be ({job.pid} of " in finished.stderr
    finally:
        job.kill()
        job.wait()


@pytest.mark.slow
def test_the_shell_executes_nothing_in_hostile_paths_and_names(project):
    """Names with spaces, quotes and $(...) reach the programs unchanged, and the shell executes nothing in them."""
    from PIL import Image

    hostile = "it's $(touch pwned) `touch pwned` \"; touch pwned; 'x"
    folder = project.folder / hostile
    folder.mkdir()
    Image.new("RGB", (64, 48)).save(folder / "a b.png")
    annotations = {
        "images": [{"id": 1, "file_name": "a b.png", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": hostile}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}],
    }
    (folder / "annotations.json").write_text(json.dumps(annotations))
    overlay = {
        "datasets": {"hostile": {"annotations": f"{hostile}/annotations.json", "images": hostile}},
        "data": {"train": ["hostile"], "detection": 1, "grounding": 1, "negative": 0},
        "report": {"title": hostile},
    }
    project.snakemake("--configfile", project.overlay(overlay), "--", "results/miniature/data/train.jsonl")
    rows = [json.loads(line) for line in (project.folder / "results/miniature/data/train.jsonl").open()]
    assert {label for row in rows for label in row["categories"]} == {hostile}
    assert not list(project.folder.rglob("pwned"))


@pytest.fixture
def finished(chain, tmp_path):
    """A copy of the finished chain."""
    shutil.copytree(chain.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def test_a_users_experiment_trains_only_what_is_new(finished):
    """It starts from another experiment's stage 1, given by name."""
    stage2 = {"init": "strict/grpo_stage1", "recall_threshold": 0.6}
    mine = {"experiments": {"mine": {"stages": ["grpo_stage2"], "grpo_stage2": stage2}}}
    overlay = finished.overlay({**mine, "ablations": {"experiments": ["strict", "mine"], "training_seeds": [0]}})
    jobs = finished.planned(*SMOKE, overlay, "--", "ablations")
    assert {name: jobs[name] for name in jobs if name.startswith("train")} == {"train_grpo": 1}


def test_an_edited_file_of_the_launcher_or_of_an_engine_trains_again(finished):
    launcher, engine = finished.folder / "launcher.yaml", finished.folder / "engine.json"
    launcher.write_text("mixed_precision: bf16\n")
    engine.write_text("{}")
    launch = {"compute": {"launch": ["accelerate", "launch", "--config_file", "launcher.yaml"]}}
    words = [*SMOKE, finished.overlay({**launch, "sft": {"deepspeed": "engine.json"}})]
    finished.snakemake(*words, "--touch")
    assert finished.planned(*words) == {}
    engine.write_text('{"zero_optimization": {}}')
    assert {name for name in finished.planned(*words) if name.startswith("train")} == {"train_sft"}
    launcher.write_text("mixed_precision: fp16\n")
    assert {name for name in finished.planned(*words) if name.startswith("train")} == {"train_sft", "train_grpo"}


@pytest.mark.slow
def test_a_failed_experiment_is_in_the_table_until_it_is_removed_from_the_list(finished):
    """The learning rate makes training diverge; then the experiment is removed from the list."""
    broken = {"experiments": {"broken": {"grpo": {"learning_rate": 1.0e30}}}}
    overlay = finished.overlay({**broken, "ablations": {"experiments": ["strict", "broken"], "training_seeds": [0]}})
    words = [*SMOKE, overlay, "--keep-going", "--", "ablations"]
    assert "train_grpo" in finished.planned(*words) and "train_sft" not in finished.planned(*words)
    assert finished.snakemake(*words, check=False).returncode == 1
    partial = ["workflow/scripts/tabulate_ablations.py", "--run", "results/smoke", "--partial"]
    subprocess.run([sys.executable, *partial], cwd=finished.folder, check=True)
    table = finished.folder / "results/smoke/tables/ablations_partial.md"
    assert re.search(r"\| broken \| 0 \| train\\_grpo: error: .*: .*probabilities.* are not finite", table.read_text())
    assert "| strict | strict | dual format + recall + precision | yes | 0.5 to 0.75 | 1 |" in table.read_text()
    table = finished.folder / "results/smoke/tables/ablations.md"
    logs = finished.folder / "results/smoke/logs/train_grpo/broken/grpo_stage1.log"
    finished.overlay({**broken, "ablations": {"experiments": ["strict"], "training_seeds": [0]}})
    assert finished.planned(*words) == {"tabulate_ablations": 1, "ablations": 1}
    finished.snakemake(*words)
    assert "broken" not in table.read_text() and logs.is_file()
    assert finished.planned(*words) == {}
