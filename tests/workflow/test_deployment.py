"""Deployment: the workflow run from another folder, and as a module from a git address."""

import json
import re
import shutil
import subprocess

import pytest
from project import SMOKE, Project

SCENES = "results/smoke/data/scenes/scenes_test/annotations.json"
MODULE = """
configfile: "{configuration}"

module vision_r1:
    snakefile:
        "{snakefile}"
    config:
        config

use rule * from vision_r1
"""


@pytest.fixture
def here(tmp_path_factory):
    """A working folder without any of the workflow's files."""
    return Project(tmp_path_factory.mktemp("here"))


def git(folder, *words):
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_another_folder_gets_the_results_and_keeps_them_when_the_workflow_moves(project, here):
    """The folder's config/ overrides the workflow's: it sets the run's name and leaves the rest at the defaults."""
    (here.folder / "config").mkdir()
    (here.folder / "config/config.yaml").write_text("run: elsewhere\n")
    smoke = ["--configfile", project.folder / "tests/smoke.yaml", "--config", "run=smoke"]
    here.snakemake("--snakefile", project.folder / "Snakefile", *smoke, "--", SCENES)
    assert (here.folder / SCENES).is_file() and (here.folder / "results/smoke/config.json").is_file()
    assert not (project.folder / "results").exists()
    moved = shutil.move(project.folder, project.folder.with_name("moved"))
    smoke[1] = moved / "tests/smoke.yaml"
    again = here.snakemake("--snakefile", moved / "workflow/Snakefile", *smoke, "--", SCENES)
    assert "Nothing to be done" in again.stdout
    plan = here.snakemake("--snakefile", moved / "Snakefile", "--dry-run").stdout
    assert "results/elsewhere/report/index.html" in plan
    assert re.search(r"^make_scenes +15$", plan, re.M)
    # accelerate's files are beside the workflow's other defaults.
    paper = ["--configfile", moved / "config/paper.yaml", "--", "results/paper/models/sft/metrics.json"]
    plan = here.snakemake("--snakefile", moved / "Snakefile", "--dry-run", "--printshellcmds", *paper).stdout
    assert "--config_file .snakemake/workflows/vision_r1/config/accelerate/zero3.yaml" in plan


def test_a_module_at_a_git_address(project, here):
    git(project.folder, "init", "--quiet")
    git(project.folder, "add", ".")
    git(project.folder, "commit", "--quiet", "--message", "All")
    shutil.copy(project.folder / "tests/smoke.yaml", here.folder)
    address = f"git+file://{project.folder}/workflow/Snakefile@HEAD"
    (here.folder / "Snakefile").write_text(MODULE.format(configuration="smoke.yaml", snakefile=address))
    shutil.rmtree(project.folder / "workflow/scripts")  # the commit is used, not the clone's files
    here.snakemake("--", SCENES)
    # The settings that programs read are written, although Snakemake doesn't run a module's onstart.
    assert (here.folder / SCENES).is_file() and (here.folder / "results/smoke/config.json").is_file()
    planned = here.planned()
    assert planned["all"] == planned["render_report"] == 1
    assert planned["train_grpo"] == 2


def test_two_modules_write_the_records_of_both_runs(project, here):
    module = MODULE.replace("vision_r1", "{run}").replace("config\n\nuse", 'config | {{"run": "{run}"}}\n\nuse')
    module = module.replace("use rule * from {run}", "use rule * from {run} as {run}_*")
    where = {"configuration": project.folder / "tests/smoke.yaml", "snakefile": project.folder / "workflow/Snakefile"}
    (here.folder / "Snakefile").write_text("".join(module.format(run=run, **where) for run in ("one", "two")))
    targets = [SCENES.replace("smoke", run) for run in ("one", "two")]
    here.snakemake("--", *targets)
    for run in ("one", "two"):
        assert json.loads((here.folder / f"results/{run}/config.json").read_text())["run"] == run


def test_a_folder_with_braces_is_refused_in_one_line(project):
    moved = shutil.move(project.folder, project.folder.with_name("with {braces}"))
    refused = Project(moved).snakemake("--dry-run", check=False)
    assert refused.returncode == 1 and "Traceback" not in refused.stdout
    assert "Snakemake takes braces in a path for wildcards" in refused.stdout


def test_a_job_of_another_configuration_than_the_runs_is_refused(project):
    """As an executor starts it: the configuration was edited between the run's start and this job's."""
    project.snakemake(*SMOKE, "--", SCENES)
    job = ["--mode", "remote", "--forcerun", "make_scenes", *SMOKE]
    assert project.snakemake(*job, "--", SCENES).returncode == 0
    edited = project.snakemake(*job, project.overlay({"sft": {"max_steps": 77}}), "--", SCENES, check=False)
    assert edited.returncode == 1
    assert "config.json: the configuration has changed since the run started" in edited.stdout
