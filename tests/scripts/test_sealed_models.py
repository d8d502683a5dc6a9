"""A trained model that was damaged or edited is not trained further, asked or released; the error names the file."""

import shutil

import pytest
import train_sft
from training_helpers import arguments

from vision_r1.files import UserError, hash_folder, read_json, read_jsonl


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, train_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("sealed") / "sft"
    options = {"per_device_train_batch_size": 2, "max_steps": 1}
    train_sft.main(arguments(tiny_checkpoint, train_file, out, **options))
    return out


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_changed_byte_of_a_model_is_refused(name, trained, train_file, tmp_path):
    model = shutil.copytree(trained / "model", tmp_path / "model")
    content = bytearray((model / name).read_bytes())
    content[-30] ^= 1
    (model / name).write_bytes(content)
    message = f"{model / name}: damaged or edited since it was written; .* delete {model} and run again"
    with pytest.raises(UserError, match=message):
        train_sft.main(arguments(model, train_file, tmp_path / "next", per_device_train_batch_size=2, max_steps=1))
    with pytest.raises(UserError, match=message):
        hash_folder(model)
    assert not (tmp_path / "next").exists()


@pytest.mark.parametrize("name, read", [("metrics.json", read_json), ("history.jsonl", read_jsonl)])
def test_a_changed_digit_in_a_trainings_outputs_is_refused(name, read, trained):
    text = (trained / name).read_text()
    assert read(trained / name)
    (trained / name).write_text(text.replace("1", "2", 1))
    with pytest.raises(UserError, match=f"{name}: damaged or edited since it was written"):
        read(trained / name)
    (trained / name).write_text(text)
