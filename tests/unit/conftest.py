import pytest

from vision_r1 import configuration


@pytest.fixture(scope="session")
def schema(root):
    """The schema of a configuration, including TRL's fields."""
    return configuration.read_schema(root / "config")


@pytest.fixture(scope="session")
def default(root):
    """The default configuration; tests that change it take a copy."""
    return configuration.load([root / file for file in configuration.DEFAULT])
