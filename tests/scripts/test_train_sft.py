import json
import shutil

import pytest
from PIL import Image
from train_sft import main, parse_args
from training_helpers import arguments, check_outputs, interrupt_twice, logged, stop_by_signal, weights_hash

from vision_r1.files import UserError, read_json, read_jsonl

BATCH = {"per_device_train_batch_size": 2}


@pytest.fixture(scope="module")
def trained(tiny_checkpoint, train_file, tmp_path_factory):
    """Six steps without interruption: one and a half passes over the eight rows."""
    out = tmp_path_factory.mktemp("runs") / "sft"
    main(arguments(tiny_checkpoint, train_file, out, **BATCH))
    return out


def test_trains_and_writes_its_outputs(trained, tiny_checkpoint):
    check_outputs(trained, tiny_checkpoint, steps=6)
    losses = [entry["loss"] for entry in read_jsonl(trained / "history.jsonl") if "loss" in entry]
    assert losses[-1] < losses[0]
    assert read_json(trained / "metrics.json")["samples_seen"] == 12


@pytest.mark.parametrize("of_a_step", [True, False])
def test_the_loss_is_the_mean_over_a_step_or_over_its_micro_batches(of_a_step, tiny_checkpoint, train_file, tmp_path):
    losses = []
    for size, steps in ((4, 1), (2, 2), (1, 4)):
        batch = {"per_device_train_batch_size": size, "gradient_accumulation_steps": steps, "max_steps": 1}
        words = arguments(tiny_checkpoint, train_file, tmp_path / f"{size}", **batch)
        main([*words, "--average_tokens_across_devices", str(of_a_step)])
        losses.append(read_jsonl(tmp_path / f"{size}/history.jsonl")[0]["loss"])
    assert (losses == pytest.approx([losses[0]] * 3, rel=1e-6)) == of_a_step


@pytest.mark.parametrize(
    "option",
    ["--dataloader_persistent_workers True", "--ignore_data_skip True", "--dataloader_in_order False"],
)
def test_options_that_cannot_be_resumed_exactly(option, tiny_checkpoint, train_file, tmp_path):
    words = ["--dataloader_num_workers", "2", *option.split()]
    with pytest.raises(UserError, match=f"{option}: it can't be resumed exactly"):
        main([*arguments(tiny_checkpoint, train_file, tmp_path, **BATCH), *words])


def test_loaders_are_forked(trained, tiny_checkpoint, train_file, tmp_path):
    words = [*arguments(tiny_checkpoint, train_file, tmp_path, **BATCH), "--dataloader_multiprocessing_context"]
    with pytest.raises(UserError, match="--dataloader_multiprocessing_context spawn: images are shared by fork only"):
        main([*words, "spawn", "--dataloader_num_workers", "2"])
    main([*words, "fork"])  # torch refuses it without workers
    assert weights_hash(tmp_path / "model") == weights_hash(trained / "model")


@pytest.mark.parametrize(("engine", "named"), [("DEEPSPEED", "DeepSpeed"), ("FSDP", "FSDP")])
@pytest.mark.parametrize("optimiser", ["adafactor", "adagrad"])
def test_optimisers_that_need_whole_weights(
    engine, named, optimiser, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(
        UserError, match=f"--optim {optimiser}: doesn't work on the parts of weights that {named} gives"
    ):
        main([*arguments(tiny_checkpoint, train_file, tmp_path, **BATCH), "--optim", optimiser])


def test_interrupted_training_ends_with_the_same_weights(trained, tiny_checkpoint, train_file, tmp_path, monkeypatch):
    out = tmp_path / "sft"
    words = arguments(tiny_checkpoint, train_file, out, **BATCH)
    interrupt_twice(main, words, out / "state", monkeypatch)
    main(words)
    check_outputs(out, tiny_checkpoint, steps=6)
    assert weights_hash(out / "model") == weights_hash(trained / "model")
    assert logged(out) == logged(trained)  # the count of tokens, too, which TRL begins anew


def test_another_training_does_not_resume_from_this_state(
    tiny_checkpoint, train_file, tmp_path, monkeypatch, trained, caplog
):
    out = tmp_path / "sft"
    interrupt_twice(main, arguments(tiny_checkpoint, train_file, out, **BATCH), out / "state", monkeypatch)
    (first,) = (out / "state").iterdir()
    caplog.set_level("INFO")
    main(arguments(tiny_checkpoint, train_file, out, **BATCH, seed=2))
    assert f"starting afresh, as {first.name} was trained with other settings: seed 1 -> 2\n" in caplog.text
    assert [path.name for path in (out / "state").iterdir()] == ["finished"]  # it is not kept beside the outputs either
    assert weights_hash(out / "model") != weights_hash(trained / "model")


def test_zeros_after_a_power_cut(trained, tiny_checkpoint, train_file, tmp_path, monkeypatch, caplog):
    """The newest checkpoint has the right sizes and its mark, but contains zeros, so the previous one is used."""
    out = tmp_path / "sft"
    words = arguments(tiny_checkpoint, train_file, out, **BATCH)
    stop_by_signal(main, words, out / "state", monkeypatch, step=5)
    file = next((out / "state").glob("*/checkpoint-5/optimizer.pt"))
    file.write_bytes(bytes(file.stat().st_size))
    caplog.set_level("INFO")
    main(words)
    assert "checkpoint-5/optimizer.pt: damaged" in caplog.text and "resuming from checkpoint-4" in caplog.text
    assert weights_hash(out / "model") == weights_hash(trained / "model")


def test_state_of_a_training_that_was_killed_at_its_very_end(
    trained, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    from vision_r1.training import outputs

    out = tmp_path / "sft"
    words = arguments(tiny_checkpoint, train_file, out, **BATCH)
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "save", lambda *args, **kwargs: None)  # main imports it from there
        main(words)
    main(words)
    check_outputs(out, tiny_checkpoint, steps=6)
    assert weights_hash(out / "model") == weights_hash(trained / "model")
    assert logged(out) == logged(trained)


def test_outputs_that_snakemake_deleted_are_restored_from_the_state_folder(
    tiny_checkpoint, train_file, tmp_path, monkeypatch, caplog
):
    """Only Snakemake was killed: its job finished, and the next run deletes the outputs before it starts the job."""
    out = tmp_path / "sft"
    words = arguments(tiny_checkpoint, train_file, out, **BATCH)
    main(words)
    written = {path: path.read_bytes() for path in [*out.glob("*.json*"), *(out / "model").iterdir()]}
    shutil.rmtree(out / "model")
    for path in out.glob("*.json*"):
        path.unlink()
    caplog.set_level("INFO")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr("vision_r1.models.load_model", lambda *_: pytest.fail("nothing is left to train"))
        main(words)
    assert end.value.code == 0
    assert "restored: this very training was finished before" in caplog.text
    assert {path: path.read_bytes() for path in written} == written
    main([*words, "--learning_rate", "2e-3"])  # another training replaces the kept outputs
    assert (out / "model/model.safetensors").read_bytes() != written[out / "model/model.safetensors"]
    shutil.rmtree(out / "model")
    (out / "state/finished/output_model/model.safetensors").write_bytes(b"damaged")
    main([*words, "--learning_rate", "2e-3"])
    check_outputs(out, tiny_checkpoint, steps=6)


def test_answers_are_not_truncated_unless_requested(tiny_checkpoint, train_file, tmp_path):
    assert parse_args(arguments(tiny_checkpoint, train_file, tmp_path))[2].max_length is None
    assert parse_args(arguments(tiny_checkpoint, train_file, tmp_path, max_length=512))[2].max_length == 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "nowhere.png"}, "row 3: nowhere.png: no such image"),
        ({"frame": "rel1000"}, "row 3: frame 'rel1000', but qwen2_5_vl writes 'pixel'"),
        ({"objects": None, "num_instances": 0}, "row 3: objects: not a list of labels"),
        ({"objects": [{"label": "circle", "bbox": [30, 30, 10, 10]}]}, "row 3: objects: box .* is not x1 y1 x2 y2"),
        ({"objects": [{"label": "circle", "bbox": [30, 30, None, 40]}]}, "row 3: objects: a coordinate is not finite"),
        (
            {"objects": [{"label": "circle", "bbox": [1, 2, 3, 10**400]}]},
            "row 3: objects: not a list of labels with four",
        ),
        ({"objects": [{"label": "circle", "bbox": [1, 2, 3]}]}, "row 3: objects: not a list of labels with four"),
        ({"num_instances": 7}, "row 3: num_instances 7, but it has"),
        ({"width": None}, "row 3: width: None is not a number of pixels"),
        ({"image": None}, "row 3: None: no such image"),
        ({"input_width": 112}, "row 3: curated for an input of 112 x 84 pixels, but .* make it 84 x 84"),
    ],
)
def test_wrong_row(change, message, tiny_checkpoint, train_file, tmp_path):
    rows = read_jsonl(train_file)
    rows[2] |= change
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=message):
        main(arguments(tiny_checkpoint, wrong, tmp_path / "sft"))


def test_an_image_of_another_size_than_its_row_s(tiny_checkpoint, train_file, tmp_path):
    rows = read_jsonl(train_file)
    with Image.open(rows[4]["image"]) as image:
        image.resize((image.width, image.height + 1)).save(tmp_path / "other.png")
    rows[4]["image"] = str(tmp_path / "other.png")
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"row 5: .*other.png: 84 x 85 pixels, but the row is for 84 x 84"):
        main(arguments(tiny_checkpoint, wrong, tmp_path / "sft"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rat": 1}, "--learning_rat"),
        ({"pad_to_multiple_of": 8}, "--pad_to_multiple_of: TRL's SFT has it for texts without images only"),
        ({"activation_offloading": True}, "--activation_offloading: needs a GPU"),
        ({"learning_rate": "quick"}, "--learning_rate.*'quick'"),
        ({"learning_rate": "nan"}, "--learning_rate nan: give a number"),
        ({"family": "llava"}, "--family: unknown 'llava'; choose qwen2_5_vl, qwen3_vl"),
        ({"family": "qwen3_vl"}, "a model of family 'qwen2_5_vl', not 'qwen3_vl'"),
        ({"init": "nowhere"}, "nowhere: no such folder"),
        ({"train_file": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
        ({"dtype": "float8"}, "--dtype: unknown 'float8'; choose float32, bfloat16"),
        ({"save_only_model": True}, "--save_only_model True"),
        ({"state": None}, "required: --state"),
        ({"save_strategy": "no"}, "--save_strategy no"),
        ({"init": "brings_code"}, "auto_map"),
        ({"max_steps": 0}, "--max_steps 0: give at least 1"),
        ({"max_length": 20}, "--max_length 20: would cut off the answers of 8 of 8 rows, first of row 1; give "),
    ],
)
def test_wrong_argument(options, message, tiny_checkpoint, train_file, tmp_path, monkeypatch):
    (tmp_path / "brings_code").mkdir()
    (tmp_path / "brings_code/config.json").write_text('{"model_type": "qwen2_5_vl", "auto_map": {"AutoModel": "m.M"}}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        main(arguments(tiny_checkpoint, train_file, tmp_path / "sft", **options))


def test_the_training_file_is_not_overwritten(tiny_checkpoint, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}")
    with pytest.raises(UserError, match="--output_history .*rows.jsonl: would replace --train_file .*rows.jsonl"):
        main(arguments(tiny_checkpoint, rows, tmp_path, output_history=rows))
    assert rows.read_text() == "{}"


def test_empty_training_file(tiny_checkpoint, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(UserError, match="empty.jsonl: no rows"):
        main(arguments(tiny_checkpoint, empty, tmp_path / "sft"))


def test_weights_that_are_not_finite_are_named(tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    from vision_r1.models import load_model

    weights = load_file(tiny_checkpoint / "model.safetensors")
    name = next(name for name in sorted(weights) if "layers.0.mlp" in name)
    weights[name][0, 0] = float("inf")
    (tmp_path / "config.json").write_bytes((tiny_checkpoint / "config.json").read_bytes())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"weight .*layers.0.mlp.* has values that are not finite"):
        load_model(tmp_path, "float32")


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("config.json", {"hidden_act": "nope"}),
        ("config.json", {"hidden_size": "x"}),
        ("generation_config.json", {"cache_implementation": "nope"}),
    ],
)
def test_settings_that_make_no_model_are_named_in_one_line(tiny_checkpoint, tmp_path, file, settings):
    from vision_r1.models import load_model

    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    config = read_json(tmp_path / "config.json")
    (tmp_path / file).write_text(
        json.dumps(config | {"text_config": config["text_config"] | settings} if file == "config.json" else settings)
    )
    with pytest.raises(UserError, match=r"^[^\n]*: no model can be built from its files \([^\n]+\); fetch it again$"):
        load_model(tmp_path, "float32")


def test_checkpoint_without_one_of_its_weights(tiny_checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    from vision_r1.models import load_model

    weights = load_file(tiny_checkpoint / "model.safetensors")
    weights.pop(next(name for name in sorted(weights) if "layers.0" in name))
    (tmp_path / "config.json").write_bytes((tiny_checkpoint / "config.json").read_bytes())
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="missing_keys: 1 weights, the first is"):
        load_model(tmp_path, "float32")


def test_weights_that_are_cut_off_or_pickled(tiny_checkpoint, tmp_path):
    from vision_r1.models import load_model

    (tmp_path / "config.json").write_bytes((tiny_checkpoint / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match="neither model.safetensors nor .*; other formats of weights are not loaded"):
        load_model(tmp_path, "float32")
    (tmp_path / "model.safetensors").write_bytes((tiny_checkpoint / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="model.safetensors: cut off or damaged .*; fetch it again"):
        load_model(tmp_path, "float32")


def test_help_lists_our_options_before_trls(capsys):
    with pytest.raises(SystemExit):
        parse_args(["--help"])
    text = capsys.readouterr().out
    assert text.index("  --state STATE") < text.index("options of TRL's SFTConfig:") < text.index("  --learning_rate")
