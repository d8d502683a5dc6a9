"""Fetching the base model: from a folder, and what goes wrong."""

import json

import fetch_base_model
import pytest

from vision_r1.files import UserError


def arguments(tmp_path, source, name):
    outputs = ["--output_model", str(tmp_path / "base/model"), "--metrics", str(tmp_path / "base/metrics.json")]
    return ["--source", source, "--id", str(name), "--revision", "0" * 40, *outputs]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_folder_is_taken_whole_and_again(tmp_path, folder):
    for weights in (b"weights", b"other weights"):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors").write_bytes(weights)
        fetch_base_model.main(arguments(tmp_path, "folder", folder))
        assert (tmp_path / "base/model/model.safetensors").read_bytes() == weights
    assert json.loads((tmp_path / "base/metrics.json").read_text())["id"] == str(folder)
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == ["metrics.json", "model"]


def test_only_safetensors_are_taken(tmp_path, folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds no .safetensors file"):
        fetch_base_model.main(arguments(tmp_path, "folder", folder))
    assert not (tmp_path / "base/model").exists()


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        fetch_base_model.main(arguments(tmp_path, "folder", tmp_path / "nowhere"))


def test_without_the_hub_the_repository_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="Qwen/Nothing at 0+: can't be downloaded"):
        fetch_base_model.main(arguments(tmp_path, "hub", "Qwen/Nothing"))
