"""A copy of the project to run Snakemake in, and the whole chain with small numbers, run once."""

import pytest
from project import SMOKE, copy_project


@pytest.fixture
def project(root, tmp_path):
    """A fresh copy, nothing run in it."""
    return copy_project(root, tmp_path)


@pytest.fixture(scope="session")
def chain(root, tmp_path_factory):
    """A copy in which the whole chain has run with the numbers of tests/smoke.yaml."""
    project = copy_project(root, tmp_path_factory.mktemp("chain"))
    project.snakemake(*SMOKE)
    return project
