"""The repository itself: module names, imports, and the length of the README."""

import importlib.util
import re
import runpy
import sys
import tomllib

import yaml


def test_no_program_needs_an_optional_package_to_start(root):
    """deepspeed, peft and vllm are imported inside the function that uses them, if at all."""
    for path in (root / "workflow/scripts").rglob("*.py"):
        assert not re.search(r"^(import|from) (deepspeed|peft|vllm)\b", path.read_text(), re.M), path


def scripts(root):
    return sorted((root / "workflow/scripts").glob("*.py"))


def test_no_script_hides_an_installed_module(root):
    """The scripts' folder is first on their path: a datasets.py there would break `import datasets`."""
    outside = [path for path in sys.path if path != str(root / "workflow/scripts")]
    for script in scripts(root):
        assert script.stem not in sys.stdlib_module_names
        assert importlib.machinery.PathFinder.find_spec(script.stem, outside) is None, script


def test_the_readme_is_read_on_a_screen_or_two(root):
    text = (root / "README.md").read_text()
    assert len(text.splitlines()) <= 150 and len(text) <= 9000


def test_every_page_is_in_the_index(root):
    index = (root / "docs/index.md").read_text()
    assert [page.name for page in (root / "docs").glob("*.md") if f"({page.name})" not in index] == ["index.md"]


def test_every_script_is_used_by_a_rule_or_the_documentation(root):
    pages = [*(root / "rules").glob("*.smk"), *(root / "docs").glob("*.md"), root / "Makefile"]
    text = "".join(path.read_text() for path in pages)
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
    """Snakemake merges it with the profile of --profile, so keys of both must have equal values."""
    default, *others = (profiles(root)[name] for name in ("default", "slurm", "local_gpus"))
    for settings in others:
        assert {key: settings[key] for key in default} == default


def test_only_the_launcher_knows_of_slurm(root):
    """Between a laptop and a cluster only the profile changes."""
    launcher = {"workflow/scripts/launch_job.py", "workflow/scripts/vision_r1/launcher/slurm.py"}
    launcher |= {"rules/common.smk"}  # checks, before the first job, whether SLURM is there
    places = [root / "Snakefile", *(root / "rules").rglob("*.smk"), *(root / "workflow").rglob("*.py")]
    named = {str(path.relative_to(root)) for path in places if "slurm" in path.read_text().lower()}
    assert named == launcher


def test_benchmarks_can_be_imported(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    for file in sorted((root / "benchmarks").glob("*.py")):
        runpy.run_path(str(file), run_name="benchmark")


def test_the_citation_has_the_packages_version(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert str(yaml.safe_load((root / "CITATION.cff").read_text())["version"]) == project["version"]
