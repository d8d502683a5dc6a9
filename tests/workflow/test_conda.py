"""--use-conda: environment.yml is solved, installed and used, with py-rattler in place of conda."""

import pytest
import yaml

pytestmark = pytest.mark.slow

rattler = pytest.importorskip("rattler", reason="needs py-rattler (requirements-development.txt)")

TARGET = "results/miniature/data/scenes/thermal/annotations.json"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("python =3.11", "python =3.9", "No candidates were found for python 3.9"),
        ("tenacity==9.2.1", "tenacity==0.0.1", "No matching distribution found for tenacity==0.0.1"),
    ],
)
def test_an_unavailable_package_stops_the_run_before_any_job(project, conda_or_skip, old, new, message):
    file = project.folder / "environment.yml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    finished = project.snakemake("--use-conda", "--", TARGET, check=False, env=conda_or_skip)
    assert finished.returncode == 1 and message in finished.stdout
    assert not (project.folder / TARGET).exists()


def test_the_solver_accepts_every_spec(root):
    dependencies = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    specs = [spec for spec in dependencies if isinstance(spec, str)]
    assert {rattler.MatchSpec(spec, strict=True).name.normalized for spec in specs} == {"python", "pip"}
