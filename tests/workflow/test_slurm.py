"""A real SLURM with two nodes on this machine: the whole chain through profiles/slurm, with interruptions and failures.

`tests/slurm_local.sh test` installs what these tests need, as root on Debian or Ubuntu.
"""

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
from project import SMOKE, copy_project

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PROFILE = ["--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "3"]
STEPS = 24
HANGS = 900  # seconds; nothing here takes that long, even beside other tests on a slow machine
# Smaller than smoke.yaml, except for the number of steps, which must be enough to interrupt.
OVERLAY = {
    "run": "cluster",
    "grpo_stage1": {"max_steps": STEPS},
    "grpo_stage2": {"max_steps": STEPS},
    "evaluation": {"anchors": "none"},
    "report": {"suites": ["shapes"]},
}
MODELS = [f"results/cluster/models/{name}/metrics.json" for name in ("sft", "strict/grpo_stage2")]
STAGE1 = Path("results/cluster/models/strict/grpo_stage1")
LOG1 = Path("results/cluster/logs/train_grpo/strict/grpo_stage1.log")


@pytest.fixture(scope="module")
def cluster(root):
    """Start SLURM, yield the environment that its commands need, and stop it."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: `tests/slurm_local.sh install` as root on Debian or Ubuntu")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # not tmp_path: a Unix socket's path must be short
    try:
        subprocess.run([root / "tests/slurm_local.sh", "start", folder], check=True)
        here = Path(sys.executable).parent
        yield {**os.environ, "SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{here}:{path}"}
    finally:
        subprocess.run([root / "tests/slurm_local.sh", "stop", folder], check=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory):
    """The trainings without a cluster and without interruption."""
    project = copy_project(root, tmp_path_factory.mktemp("undisturbed"))
    project.snakemake(*SMOKE, project.overlay(OVERLAY), "--", *MODELS)
    return project


@pytest.fixture
def before_training(root, undisturbed, tmp_path):
    """Return a function: a name -> a copy that has data and base model, and in which nothing is trained yet."""

    def copy(name):
        project = copy_project(root, tmp_path / name)
        for part in ("results", ".snakemake", "overlay.json"):
            copier = shutil.copy if part.endswith("json") else shutil.copytree
            copier(undisturbed.folder / part, project.folder / part)
        for part in ("models/sft", "models/strict", "logs/train_grpo"):
            shutil.rmtree(project.folder / "results/cluster" / part)
        return project

    return copy


def start(project, cluster, *words):
    """Start Snakemake with the SLURM profile; it writes to the file `driver.log`."""
    with (project.folder / "driver.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *PROFILE, *SMOKE, "overlay.json", *words],
            cwd=project.folder,
            env=cluster,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def output(project):
    return (project.folder / "driver.log").read_text()


def wait_until(what, project, run, seconds=HANGS):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert run.poll() is None, output(project)
        assert time.monotonic() < deadline, output(project)
        time.sleep(0.02)
    return found


def holder(project, stage):
    """Return the number of the job that trains a stage, from its lock."""
    text = (project.folder / f"results/cluster/logs/train_grpo/strict/{stage}.log.lock").read_text()
    return re.match(r"SLURM job (\d+), process \d+ on ", text)[1]


def trainer(project):
    """Return the process that trains a GRPO stage of a project."""
    (found,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if (words := process.info["cmdline"] or [])[1:2] == ["workflow/scripts/train_grpo.py"]
        and process.cwd() == str(project.folder)
    ]
    return found


def slurm(cluster, *words):
    return subprocess.run(words, env=cluster, check=True, capture_output=True, text=True).stdout


def saved(project, stage):
    return lambda: list((project.folder / f"results/cluster/models/strict/{stage}/state").glob("*/checkpoint-2"))


def weights(project, checkpoint):
    file = project.folder / f"results/cluster/models/{checkpoint}/model/model.safetensors"
    return sha256(file.read_bytes()).hexdigest()


def read(project, log):
    """Return a log, empty if it is missing: Snakemake removes it before each attempt."""
    try:
        return (project.folder / log).read_text()
    except FileNotFoundError:
        return ""


def logs(project, stage):
    return read(project, f"results/cluster/logs/train_grpo/strict/{stage}.log")


def test_the_interrupted_chain_makes_the_same_weights(root, cluster, undisturbed, tmp_path):
    """From curation to report. Stage 1 is cancelled, and stage 2 is preempted."""
    project = copy_project(root, tmp_path)
    project.overlay(OVERLAY)
    run = start(project, cluster)
    try:
        wait_until(saved(project, "grpo_stage1"), project, run)
        cancelled = holder(project, "grpo_stage1")
        slurm(cluster, "scancel", cancelled)
        wait_until(saved(project, "grpo_stage2"), project, run)
        preempted = holder(project, "grpo_stage2")
        urgent = ["--partition", "urgent", "--nodes", "2", "--exclusive", "--time", "1", "--output", "/dev/null"]
        slurm(cluster, "sbatch", *urgent, "--wrap", "sleep 1")
        assert run.wait(HANGS) == 0, output(project)
    finally:
        run.terminate()
    assert "</html>" in (project.folder / "results/cluster/report/index.html").read_text()
    assert weights(undisturbed, "strict/grpo_stage1") != weights(undisturbed, "base")
    for checkpoint in ("base", "sft", "strict/grpo_stage1", "strict/grpo_stage2"):
        assert weights(project, checkpoint) == weights(undisturbed, checkpoint), checkpoint
    assert "stopped by a signal at step" in output(project)  # Snakemake shows the log of a failed job
    for stage in ("grpo_stage1", "grpo_stage2"):
        resumed = re.search(r"resuming from checkpoint-(\d+)", logs(project, stage))
        assert resumed and int(resumed[1]) > 2, stage  # a checkpoint saved because of the signal, not the regular one
    assert holder(project, "grpo_stage1") != cancelled and holder(project, "grpo_stage2") == preempted
    assert "Restarts=1" in slurm(cluster, "scontrol", "show", "job", preempted)
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in output(project)
    jobs = slurm(cluster, "scontrol", "--oneliner", "show", "jobs").splitlines()
    asked = [re.search(r"MinMemoryNode=(\w+)", job)[1] for job in jobs if "Comment=rule_train_grpo" in job]
    assert asked == [asked[0]] * 3  # a node need not have more than the first try requested


def test_a_failing_job_ends_the_run_and_shows_its_log(cluster, before_training):
    project = before_training("failing")
    overlay = {**OVERLAY, "guards": {"patience": 1, "truncated": 0.0}}
    project.overlay(overlay)
    run = start(project, cluster, "--preemptible-retries", "0", "--", MODELS[1])
    assert run.wait(HANGS) == 1, output(project)
    assert "error: training stopped at step 1: truncated" in output(project)
    assert not (project.folder / STAGE1 / "model").exists()


def test_a_training_whose_time_is_up_saves_and_is_submitted_again(cluster, before_training):
    """An endless training: the profile's signal arrives one or two minutes into its 7; the next job resumes it."""
    project, log = before_training("late"), "results/cluster/logs/train_sft/sft.log"
    project.overlay({**OVERLAY, "sft": {"max_steps": 10**6}, "compute": {"train_sft": {"runtime": 7}}})
    run = start(project, cluster, "--", MODELS[0])
    try:
        submitted = "has been submitted with SLURM jobid"
        wait_until(lambda: output(project).count(submitted) == 2, project, run, 300)  # earlier than the time limit
        wait_until(lambda: "resuming from checkpoint-" in read(project, log), project, run)
    finally:
        run.kill()
        run.wait()
        slurm(cluster, "scancel", "--user", getpass.getuser())
    assert "returned non-zero exit status 143" in output(project)


def test_a_run_that_was_killed_waits_for_its_job_and_takes_its_result(cluster, undisturbed, before_training):
    """Snakemake gets SIGKILL; its job, held by SIGSTOP, is still there when the next Snakemake submits the same one."""
    project = before_training("killed")
    target = ["--", str(STAGE1 / "metrics.json")]
    run = start(project, cluster, *target)
    held = None
    try:
        wait_until(lambda: list((project.folder / STAGE1).glob("state/*/settings.json")), project, run)
        held = trainer(project)
        held.suspend()
        run.kill()
        run.wait()
        first = holder(project, "grpo_stage1")
        project.snakemake(*SMOKE, "overlay.json", "--unlock")
        run = start(project, cluster, *target)
        wait_until(lambda: f"waiting for SLURM job {first}, process" in logs(project, "grpo_stage1"), project, run)
        held.resume()
        assert run.wait(HANGS) == 0, output(project)
    finally:
        run.terminate()
        if held and held.is_running():
            held.resume()
    assert "this training was finished by another job" in logs(project, "grpo_stage1")
    assert f"/{STEPS} " not in logs(project, "grpo_stage1")  # the second job trained no step
    assert weights(project, "strict/grpo_stage1") == weights(undisturbed, "strict/grpo_stage1")


def test_two_nodes_make_the_weights_of_one(cluster, before_training):
    """Two nodes x 1 process and one node x 2 processes, both through accelerate launch."""
    # Without GPUs --multi_gpu still starts one process per rank, under torchrun. One node needs a free port; two nodes
    # get theirs from launch_job.py.
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", "2"]
    projects, runs = {}, {}
    for nodes, port in {1: ["--main_process_port", "0"], 2: []}.items():
        projects[nodes] = before_training(f"nodes{nodes}")
        sft = {"mem_mb": 1500, "nodes": nodes}
        projects[nodes].overlay({**OVERLAY, "compute": {"launch": [*launch, *port], "train_sft": sft}})
        # Without GPUs SLURM has to be told that both nodes are needed.
        profile = projects[nodes].folder / "profiles/slurm/config.yaml"
        profile.write_text(profile.read_text().replace("    mpi: 0", f"    tasks: {nodes}\n    mpi: 0"))
        runs[nodes] = start(projects[nodes], cluster, "--", MODELS[0])
    for nodes, run in runs.items():
        assert run.wait(HANGS) == 0, output(projects[nodes])
    metrics = [json.loads((project.folder / MODELS[0]).read_text()) for project in projects.values()]
    assert [values["processes"] for values in metrics] == [2, 2]
    assert weights(projects[1], "sft") == weights(projects[2], "sft")
    (job,) = [
        line
        for line in slurm(cluster, "scontrol", "--oneliner", "show", "jobs").splitlines()
        if f"WorkDir={projects[2].folder} " in line
    ]
    assert "NodeList=n[1-2]" in job


def test_a_job_gets_the_gpus_of_all_its_nodes_once(cluster, root, tmp_path):
    """Two nodes x 2 fake GPUs: the command runs once per node, and each copy sees two GPUs."""
    program = tmp_path / "say.sh"
    program.write_text('echo "rank $3 of $2, sees $CUDA_VISIBLE_DEVICES, first node at $5"\n')
    launcher = tmp_path / "torchrun"
    launcher.write_text(f'#!/bin/sh\nshift 0; exec sh {program} "$2" "$2" "$4" x "$6"\n')
    launcher.chmod(0o755)
    words = [sys.executable, str(root / "workflow/scripts/launch_job.py"), "--lock", str(tmp_path / "job.lock")]
    command = " ".join([*words, "--gpus", "4", "--nodes", "2", "--", "torchrun", "train.py"])
    environment = {**cluster, "VISION_R1_SENT_BY_EXECUTOR": "1", "PATH": f"{tmp_path}:{cluster['PATH']}"}
    sbatch = ["sbatch", "--wait", "--nodes", "2", "--gpus", "4", "--mem", "500", "--output", str(tmp_path / "out")]
    slurm(environment, *sbatch, "--wrap", command)
    printed = sorted(line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("rank"))
    assert printed == [f"rank {rank} of 2, sees 0,1, first node at 127.0.0.1" for rank in (0, 1)]
