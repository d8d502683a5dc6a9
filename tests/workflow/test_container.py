"""--sdm apptainer: every rule uses one image, which users build themselves because none is published.

PyPI has no Apptainer. A stand-in shows how Snakemake calls it, not that the image can be built.
"""

import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TARGET = "results/miniature/data/scenes/thermal/annotations.json"


def test_without_the_image_there_is_one_error_line(project):
    finished = project.snakemake("--sdm", "apptainer", "--dry-run", "--", TARGET, check=False)
    assert finished.returncode == 1 and "Traceback" not in finished.stdout
    assert finished.stdout.rstrip().endswith(
        "error: vision-r1.sif: no such file; --sdm apptainer needs it: build it as containers/vision-r1.def says"
    )


@pytest.fixture
def stand_in(root, project):
    """An image, and the environment with the stand-in for Apptainer."""
    (project.folder / "vision-r1.sif").touch()
    path = f"{root / 'tests/conda/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


def test_slurm_is_refused(project, stand_in):
    """The image has no srun, with which launch_job.py starts trainings."""
    words = ["--profile", "profiles/slurm", "--sdm", "apptainer", "--", TARGET]
    finished = project.snakemake(*words, check=False, env=stand_in)
    assert finished.returncode == 1
    assert "error: --sdm apptainer: launch_job.py needs srun, which the image lacks" in finished.stdout


def test_a_job_runs_in_the_image(project, stand_in):
    project.snakemake("--sdm", "apptainer", "--", TARGET, env=stand_in)
    assert (project.folder / TARGET).is_file()
    assert (project.folder / "apptainer.txt").read_text() == "vision-r1.sif\n"
