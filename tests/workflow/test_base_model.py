"""A user's base model, through Snakemake: a folder with the hub's layout becomes base model and processor."""

import pytest
from tiny_models import make_checkpoint

from vision_r1.files import write_json


@pytest.mark.slow
def test_a_folder_is_fetched_and_a_quantised_one_is_refused(project, tmp_path):
    folder = tmp_path / "my model"
    make_checkpoint(folder, "qwen2_5_vl", "older")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    overlay = project.overlay({"model": {"source": "folder", "id": str(folder)}})
    models = project.folder / "results/miniature/models"
    targets = [f"results/miniature/models/{name}" for name in ("processor", "base/metrics.json")]
    project.snakemake("--configfile", overlay, "--", *targets)
    names = {path.name for path in folder.iterdir()} - {"pytorch_model.bin"}
    mark = {".snakemake_timestamp", "seal.sha256"}
    assert {path.name for path in (models / "base/model").iterdir()} - mark == names
    assert {path.name for path in (models / "processor").iterdir()} - mark == names - {"model.safetensors"}

    write_json(folder / "config.json", {"model_type": "qwen2_5_vl", "quantization_config": {"quant_method": "awq"}})
    finished = project.snakemake("--configfile", overlay, "--", "preflight", check=False)
    assert finished.returncode == 1 and "Traceback" not in finished.stdout
    log = (project.folder / "results/miniature/logs/preflight.log").read_text()
    assert log.splitlines()[-1].endswith("take the one in full precision")


def test_touch_keeps_what_outlives_a_deleted_output(project):
    small = ["--configfile", project.overlay({"base": {"steps": 2, "exact_steps": 2, "warmup_steps": 1}}), "--"]
    target = "results/miniature/models/base/metrics.json"
    project.snakemake(*small, target)
    project.snakemake("--touch", "--forceall", *small, target)
    (project.folder / target).unlink()
    project.snakemake(*small, target)
    assert "finished before" in (project.folder / "results/miniature/logs/make_base_model.log").read_text()
