"""A copy of the project to run Snakemake in, and the whole chain with small numbers, run once."""

import os
import platform
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from project import SMOKE, copy_project


@pytest.fixture
def project(root, tmp_path):
    """A fresh copy in which nothing has run."""
    return copy_project(root, tmp_path)


@pytest.fixture(scope="session")
def conda(root, tmp_path_factory):
    """Environment variables with which Snakemake finds the stand-in for conda; None where it can't be built."""
    wanted = f"python ={sys.version_info.major}.{sys.version_info.minor}"
    if wanted not in yaml.safe_load((root / "environment.yml").read_text())["dependencies"]:
        return None
    if platform.system() != "Linux" or platform.machine() != "x86_64" or not find_spec("rattler"):
        return None
    folder = tmp_path_factory.mktemp("conda")
    subprocess.run([sys.executable, root / "tests/conda/build_channel.py", folder / "channel"], check=True)
    return {
        **os.environ,
        "PATH": f"{root / 'tests/conda/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CONDA_TEST_CHANNEL": f"file://{folder / 'channel'}",
        "CONDA_TEST_SITE": sysconfig.get_path("purelib"),
        "CONDA_TEST_PYTHONS": str(folder / "pythons.txt"),
    }


@pytest.fixture
def conda_or_skip(conda):
    if conda is None:
        pytest.skip("the stand-in for conda needs Linux on x86-64, py-rattler and the Python of environment.yml")
    return conda


@pytest.fixture(scope="session")
def chain(root, conda, tmp_path_factory):
    """A copy in which the whole chain has run with the numbers of tests/smoke.yaml, if possible with --use-conda."""
    project = copy_project(root, tmp_path_factory.mktemp("chain"))
    project.snakemake(*SMOKE, *(["--use-conda"] if conda else []), env=conda)
    return project
