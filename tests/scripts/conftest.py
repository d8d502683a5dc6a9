"""A tiny untrained checkpoint and a few synthetic scenes, for the programs that need a model."""

import fnmatch
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

# With matrices this small, more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A folder with a one-layer Qwen2.5-VL with random weights, and its processor."""
    from tiny_models import make_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    make_checkpoint(folder, "qwen2_5_vl")
    return folder


@pytest.fixture(scope="session")
def train_file(tmp_path_factory):
    """Eight rows of training data: seven detection rows and a negative one."""
    from tiny_models import write_train_file

    return write_train_file(tmp_path_factory.mktemp("scenes"), "qwen2_5_vl")


@pytest.fixture(scope="session")
def bfloat16_checkpoint(tmp_path_factory):
    """Return a function: family -> (checkpoint, training file); the weights are bfloat16, as on the hub."""

    @cache
    def make(name):
        from tiny_models import make_checkpoint, write_train_file

        from vision_r1.models import load_model

        folder = tmp_path_factory.mktemp(name)
        make_checkpoint(folder / "model", name)
        load_model(folder / "model", "bfloat16").save_pretrained(folder / "model")
        return folder / "model", write_train_file(folder, name)

    return make


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """Starts trainings in separate processes."""
    from processes import Processes

    started = Processes(tmp_path_factory.mktemp("processes"))
    yield started
    started.stop()


@pytest.fixture
def hub(monkeypatch):
    """Serve a folder like a repository of the hub, with the hub's filter of names; returns the list of downloads."""
    calls = []

    def snapshot_download(repository, *, repo_type, revision, local_dir, allow_patterns):
        source = Path(repository)
        paths = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
        calls.append({path for path in paths if any(fnmatch.fnmatch(path, pattern) for pattern in allow_patterns)})
        for path in calls[-1]:
            (local_dir / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, local_dir / path)
        (local_dir / ".cache/huggingface").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return calls


@pytest.fixture(scope="module")
def one_thread():
    """Gives torch its threads back after tests of programs that set their number."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Images of three sizes: three square ones, a wide one and a tall one."""
    import coco_factory

    folder = tmp_path_factory.mktemp("data")
    small = coco_factory.write(folder / "small")
    mixed = coco_factory.content({7: [(2, [5, 5, 30, 20])], 8: [(1, [0, 0, 9, 9])]}, size=(168, 56))
    mixed["images"][1].update(width=50, height=120)
    return [("small", *small), ("mixed", *coco_factory.write(folder / "mixed", mixed))]


@pytest.fixture(scope="module")
def predicted(tiny_checkpoint, datasets, tmp_path_factory):
    """What predict_suite.py writes about `datasets`, undisturbed."""
    from predict_suite import main
    from prediction_words import WRITTEN, words

    from vision_r1.files import read_jsonl

    output = tmp_path_factory.mktemp("predictions") / "suite.jsonl"
    main(words(tiny_checkpoint, datasets, output))
    assert sorted(path.name for path in output.parent.iterdir()) == WRITTEN
    return read_jsonl(output)
