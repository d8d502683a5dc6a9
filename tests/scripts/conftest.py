"""A tiny untrained checkpoint and a few made scenes, for the programs that need a model."""

import os

import pytest

# Small matrices: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A folder with a Qwen2.5-VL of one layer and random weights, and its processor."""
    from tiny_models import make_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    make_checkpoint(folder, "qwen2_5_vl")
    return folder


@pytest.fixture(scope="session")
def train_file(tmp_path_factory):
    """Eight rows of training data: seven detections and a negative."""
    from tiny_models import write_train_file

    return write_train_file(tmp_path_factory.mktemp("scenes"), "qwen2_5_vl")


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """Starts trainings in processes of their own."""
    from processes import Processes

    started = Processes(tmp_path_factory.mktemp("processes"))
    yield started
    started.stop()
