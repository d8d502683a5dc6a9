import pytest

from vision_r1 import configuration
from vision_r1.families import FAMILIES


@pytest.fixture(scope="session")
def schema(root):
    """The schema of a configuration, including TRL's fields."""
    return configuration.read_schema(root / "config")


@pytest.fixture(scope="session")
def default(root):
    """The default configuration; tests that change it take a copy."""
    return configuration.load([root / file for file in configuration.DEFAULT])


@pytest.fixture(scope="module", params=FAMILIES)
def place(request, tmp_path_factory):
    """A folder with a tiny checkpoint of each family, `model`, and a training file for it."""
    from tiny_models import make_checkpoint, write_train_file  # not above: they import torch

    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint(folder / "model", request.param)
    write_train_file(folder, request.param)
    return folder
