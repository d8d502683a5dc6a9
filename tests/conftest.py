"""Options and folders that the tests share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser):
    parser.addoption("--fix", action="store_true", help="rewrite generated files that are out of date")


def pytest_collection_modifyitems(items):
    """Run the SLURM tests first: they take longest and mostly wait, while another process runs the others."""
    items.sort(key=lambda item: "slurm" not in item.keywords)


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def coco_tiny(root):
    """The folder with 80 + 80 real COCO images, which some machines have beside the repository."""
    return beside(root, "shared/data/coco-tiny")


@pytest.fixture(scope="session")
def raccoon(root):
    """The folder with 200 photographs of raccoons, labelled in VOC and CSV form, beside the repository."""
    return beside(root, "shared/data/raccoon")


@pytest.fixture(scope="session")
def cases(root):
    """The folder with small inputs that once failed, and the expected result of each."""
    return beside(root, "shared/cases/data")


def beside(root, name):
    folder = root.parent / name
    if not folder.is_dir():
        pytest.skip(f"needs ../{name}")
    return folder
