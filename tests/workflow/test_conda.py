"""--use-conda: environment.yml is solved, installed and used, with py-rattler in the place of conda."""

import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from test_dry_run import all_rules

rattler = pytest.importorskip("rattler", reason="needs py-rattler (requirements-development.txt)")

TARGET = "results/miniature/data/scenes/thermal/annotations.json"


@pytest.fixture(scope="module")
def channel(root, tmp_path_factory):
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the stand-in for conda is built for Linux on x86-64")
    folder = tmp_path_factory.mktemp("conda") / "channel"
    subprocess.run([sys.executable, root / "tests/conda/build_channel.py", folder], check=True)
    return folder


@pytest.fixture
def conda(root, channel, tmp_path):
    """The environment variables of a shell with the stand-in."""
    return {
        **os.environ,
        "PATH": f"{root / 'tests/conda/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CONDA_TEST_CHANNEL": f"file://{channel}",
        "CONDA_TEST_SITE": sysconfig.get_path("purelib"),
        "CONDA_TEST_PYTHONS": str(tmp_path / "pythons.txt"),
    }


def test_jobs_run_in_the_environment_of_environment_yml(project, conda, tmp_path):
    project.snakemake("--use-conda", "--", TARGET, env=conda)
    assert (project.folder / TARGET).is_file()
    prefixes = {
        line.split()[0]
        for line in (tmp_path / "pythons.txt").read_text().splitlines()
        if "workflow/scripts/make_scenes.py" in line
    }
    (environment,) = [path for path in (project.folder / ".snakemake/conda").iterdir() if (path / "bin").is_dir()]
    assert prefixes == {str(environment)}
    assert "Nothing to be done" in project.snakemake("--", TARGET).stdout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("python =3.11", "python =3.9", "No candidates were found for python 3.9"),
        ("tenacity==9.2.1", "tenacity==0.0.1", "No matching distribution found for tenacity==0.0.1"),
    ],
)
def test_what_can_t_be_had_stops_the_run_before_any_job(project, conda, old, new, message):
    file = project.folder / "environment.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    finished = project.snakemake("--use-conda", "--", TARGET, check=False, env=conda)
    assert finished.returncode == 1 and message in finished.stdout
    assert not (project.folder / TARGET).exists()


def test_a_solver_understands_every_spec(root):
    dependencies = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    specs = [spec for spec in dependencies if isinstance(spec, str)]
    assert {rattler.MatchSpec(spec, strict=True).name.normalized for spec in specs} == {"python", "pip"}


def test_every_rule_names_the_one_environment(root):
    blocks = re.findall(r"^ *rule (\w+):\n(.*?)(?=^ *(?:use )?rule |^else:|\Z)", all_rules(root), re.M | re.S)
    for name, block in blocks:
        if "shell:" in block:
            assert re.findall(r'conda:\s+"(.*)"', block) == ["../environment.yml"], name
