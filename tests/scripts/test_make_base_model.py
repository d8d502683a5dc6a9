import json
import shutil

import make_base_model
import pytest

from vision_r1.data.worlds import WORLDS
from vision_r1.families import family
from vision_r1.files import UserError
from vision_r1.processors import load_processor
from vision_r1.prompts import format_answer

SETTINGS = {
    **{"world": "miniature", "hidden_size": 32, "head_size": 16, "text_layers": 1, "vision_layers": 1},
    **{
        "steps": 3,
        "exact_steps": 1,
        "filling_steps": 0,
        "number_waves": 0,
        "batch_size": 2,
        "muon_learning_rate": 0.02,
        "adamw_learning_rate": 0.003,
        "weight_decay": 0.05,
    },
    **{"warmup_steps": 1, "grow": 0.08, "jitter": 0.05, "drop": 0.3},
    **{"detection_share": 0.6, "grounding_share": 0.3, "negative_share": 0.1, "device": "cpu", "workers": 0},
}


def arguments(folder, **changes):
    values = {**SETTINGS, "seed": 1, "threads": 1, **changes}
    values |= {
        "output_model": folder / "model",
        "output_metrics": folder / "m.json",
        "output_history": folder / "h.jsonl",
    }
    return [text for name, value in values.items() for text in (f"--{name}", str(value))]


def test_writes_a_loadable_model_and_repeats_its_weights(tmp_path):
    from transformers import AutoModelForImageTextToText

    for name in ("a", "b"):
        make_base_model.main(arguments(tmp_path / name))
    files = {path.name for path in (tmp_path / "a" / "model").iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= files
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    metrics = json.loads((tmp_path / "a" / "m.json").read_text())
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "a" / "model")
    assert metrics["parameters"] == sum(weight.numel() for weight in model.parameters())
    assert metrics["steps"] == 3 and metrics["samples_seen"] == 6
    history = [json.loads(line) for line in (tmp_path / "a" / "h.jsonl").read_text().splitlines()]
    assert history[-1]["step"] == 3 and history[-1] == metrics["final"]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_training_ends_with_the_same_weights_and_is_kept(tmp_path, monkeypatch, caplog, processes):
    from vision_r1.miniature import pretrain

    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    monkeypatch.setattr(pretrain, "LOG_EVERY", 1)
    longer = {"steps": 5, "threads": processes, "state": tmp_path / "b/state"}
    make_base_model.main(arguments(tmp_path / "a", **{**longer, "state": tmp_path / "a/state"}))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def stop(self, done):
            if done == 3:
                raise KeyboardInterrupt

        patch.setattr(pretrain.Progress, "update", stop)
        make_base_model.main(arguments(tmp_path / "b", **longer))
    assert not (tmp_path / "b/model").exists()
    caplog.set_level("INFO")
    make_base_model.main(arguments(tmp_path / "b", **longer))
    assert "checkpoint-2" in caplog.text
    names = ("model/model.safetensors", "h.jsonl")
    expected = [(tmp_path / "a" / name).read_bytes() for name in names]
    assert [(tmp_path / "b" / name).read_bytes() for name in names] == expected
    assert [path.name for path in (tmp_path / "b/state").iterdir()] == ["finished"]

    shutil.rmtree(tmp_path / "b/model")  # as Snakemake does if it has not seen the job end
    monkeypatch.setattr(pretrain, "pretrain", lambda *_, **__: pytest.fail("nothing is left to train"))
    make_base_model.main(arguments(tmp_path / "b", **longer))
    assert [(tmp_path / "b" / name).read_bytes() for name in names] == expected


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    from vision_r1.miniature import pretrain, resume

    def fail(state, path):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 392640 vs 392592")

    monkeypatch.setattr(pretrain, "SAVE_EVERY", 2)
    monkeypatch.setattr(resume.torch, "save", fail)
    with pytest.raises(UserError, match="checkpoint-2: no space left on its disk"):
        make_base_model.main(arguments(tmp_path, state=tmp_path / "state"))


def test_a_midi_model_learns_its_world_with_workers_and_repeats(tmp_path):
    midi = {"world": "midi", "head_size": 32, "steps": 2, "batch_size": 2, "workers": 2}
    for name in ("a", "b"):
        make_base_model.main(arguments(tmp_path / name, **midi))
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    processor = load_processor(tmp_path / "a" / "model", family("qwen2_5_vl"), 784, 7056)
    settings = json.loads((tmp_path / "a" / "model" / "preprocessor_config.json").read_text())
    assert settings["size"]["longest_edge"] == WORLDS["midi"].max_pixels
    answer = format_answer([[0, 1, 300, 336]], ["hourglass"])
    assert len(processor.tokenizer(answer).input_ids) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detection_share": 0.9}, "--detection_share"),
        ({"muon_learning_rate": 1e30}, "--muon_learning_rate 1e[+]30 .*: the loss is nan at step 3; lower them"),
        ({"muon_learning_rate": 1e30, "threads": 2}, "the loss is nan at step 3; lower them"),
        ({"threads": 3}, "--threads 3: each process needs a row of the batch and a matrix; give at most 2"),
        ({"device": "cuda"}, "--device cuda: no GPU is visible; ask for one"),
    ],
)
def test_an_invalid_setting_writes_nothing(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        make_base_model.main(arguments(tmp_path, **changes))
    assert not list(tmp_path.iterdir())
