"""The package, installed by pip from a git address into an empty virtual environment and used in another folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

import coco_factory
import pytest

pytestmark = pytest.mark.slow

PIP = (sys.executable, "-m", "pip")
OWN_SCRIPT = """
import json, sys
from vision_r1.rewards import Criterion, reward_functions

row = json.load(open(sys.argv[1]))
columns = {name: [value] for name, value in row.items()}
rewards = reward_functions(Criterion.named("strict", "stage1"))
print(json.dumps({reward.__name__: reward([row["completion"]], **columns)[0] for reward in rewards}))
"""
ROW = {
    "id": "x1",
    "completion": '```json\n[{"bbox_2d": [28, 28, 56, 84], "label": "dog"}]\n```',
    "objects": [{"label": "dog", "bbox": [10, 10, 20, 30]}],
    **{"frame": "pixel", "width": 100, "height": 100, "input_width": 280, "input_height": 280},
}


@dataclass(frozen=True)
class Environment:
    """A virtual environment whose pip only finds `wheels`, and the repository at its address."""

    folder: Path
    wheels: Path
    repository: str

    def run(self, *words, folder):
        """Run one of the environment's programs in a folder, without variables that could point to the sources."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
        pip = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_NO_COMPILE": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }
        return subprocess.run(
            words,
            cwd=folder,
            env=kept | pip | {"PATH": f"{self.folder / 'bin'}:{kept['PATH']}", "REPOSITORY": self.repository},
            capture_output=True,
            text=True,
        )

    @property
    def library(self):
        (library,) = self.folder.glob("lib/python3.*/site-packages")
        return library


@pytest.fixture(scope="module")
def repository(root, tmp_path_factory):
    """The address of a repository with the package's current sources, committed or not."""
    folder = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(root / "workflow/scripts", folder / "workflow/scripts", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, folder)
    git = ["git", "-C", folder, "-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for words in (["init"], ["add", "."], ["commit", "--message", "The package"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return f"file://{folder}"


@pytest.fixture(scope="module")
def install_command(root):
    """The command in docs/rewards.md: the part before the extra, and the part after it."""
    (command,) = re.findall(r"^pip install \"vision-r1.*\"", (root / "docs/rewards.md").read_text(), re.M)
    return re.fullmatch(r"(.*vision-r1)\[pipeline\](.*)", command).groups()


@pytest.fixture(scope="module")
def environment(root, repository, install_command, tmp_path_factory):
    """An environment with pip, the package and its requirements, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    wheels, python = folder / "wheels", folder / "venv/bin/python"
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    project = settings["project"]
    needed = ["pip", *settings["build-system"]["requires"], *project["dependencies"]]
    needed += project["optional-dependencies"]["scoring"]
    options = ["--only-binary", ":all:", "--timeout", "15", "--retries", "1", "--dest", wheels]
    downloaded = subprocess.run([*PIP, "download", *options, *needed], capture_output=True, text=True)
    if downloaded.returncode:
        pytest.skip(f"can't download packages: {downloaded.stderr.strip().splitlines()[-1]}")
    venv.create(folder / "venv")
    own_pip = [*PIP, "--python", python, "install", "--no-index", "--find-links", wheels, "pip"]
    subprocess.run(own_pip, check=True, capture_output=True)
    environment = Environment(folder / "venv", wheels, repository)
    finished = environment.run("sh", "-c", "".join(install_command), folder=folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return environment


def test_the_criterion_needs_only_numpy_and_scipy(environment, tmp_path):
    installed = {path.name.partition("-")[0] for path in environment.library.glob("*.dist-info")}
    assert installed == {"pip", "numpy", "scipy", "vision_r1"}
    (tmp_path / "row.json").write_text(json.dumps(ROW))
    finished = environment.run("python", "-c", OWN_SCRIPT, "row.json", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == {"dual_format": 1, "recall": 1, "precision": 1}


def test_every_file_of_the_package_is_installed(root, environment):
    source, target = root / "workflow/scripts/vision_r1", environment.library / "vision_r1"
    here, there = (
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        for folder in (source, target)
    )
    assert "report/style.mplstyle" in here and here == there


def test_completions_are_scored_by_a_command(environment, tmp_path):
    (tmp_path / "answers.jsonl").write_text(json.dumps(ROW) + "\n")
    words = ["--criterion", "strict", "--stage", "stage1"]
    finished = environment.run("score_completions", *words, "answers.jsonl", "scores.jsonl", folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert json.loads((tmp_path / "scores.jsonl").read_text())["precision"] == 1
    finished = environment.run("score_completions", *words, "nothing.jsonl", "scores.jsonl", folder=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr == "error: nothing.jsonl: No such file or directory\n"


def test_predictions_are_scored_by_a_command_with_the_extra(environment, install_command, tmp_path):
    coco = coco_factory.content()
    found = [{name: entry[name] for name in ("image_id", "category_id", "bbox")} for entry in coco["annotations"]]
    (tmp_path / "gt.json").write_text(json.dumps(coco))
    (tmp_path / "found.json").write_text(json.dumps([entry | {"score": 0.9} for entry in found]))
    words = [
        "--annotations",
        "gt.json",
        "--predictions",
        "found.json",
        "--resamples",
        "2",
        "--output_metrics",
        "metrics.json",
    ]
    finished = environment.run("score_predictions", *words, folder=tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith("error: package msgspec is not installed; ")
    assert finished.stderr.count("\n") == 1
    installed = environment.run("sh", "-c", "[scoring]".join(install_command), folder=tmp_path)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    finished = environment.run("score_predictions", *words, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["AP"] == pytest.approx(1)
