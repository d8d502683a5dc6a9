"""Adapters in both training programs: merged models, exact resumption, stages. Needs requirements-gpu.txt."""

import shutil
from functools import partial

import pytest
import torch
import train_grpo
import train_sft
from safetensors.torch import load_file
from test_train_grpo import GRPO
from training_helpers import arguments, check_outputs, interrupt_twice, weights_hash

from vision_r1.files import UserError, read_json, read_jsonl
from vision_r1.models import load_model
from vision_r1.training.lora import LoRAArguments, check_adapters, kept_share, lora_config

LORA = {"lora_r": 2, "lora_alpha": 4}
PROGRAMS = {
    "sft": (train_sft.main, {"per_device_train_batch_size": 2, "gradient_checkpointing": True}),
    "grpo": (train_grpo.main, {**GRPO, "beta": 0.04}),
}


def test_without_a_rank_all_weights_are_trained():
    assert lora_config(LoRAArguments()) is None


def test_without_peft_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("vision_r1.training.lora.is_peft_available", lambda: False)
    with pytest.raises(UserError, match="--lora_r: adapters need PEFT; pip install -r requirements-gpu.txt"):
        LoRAArguments(lora_r=8)


@pytest.mark.parametrize("variable", [("ACCELERATE_USE_FSDP", "true"), ("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")])
def test_split_weights_are_refused(monkeypatch, variable):
    monkeypatch.setattr("vision_r1.training.lora.is_peft_available", lambda: True)
    monkeypatch.setenv(*variable)
    with pytest.raises(UserError, match="adapters can't be merged while weights are split"):
        LoRAArguments(lora_r=8)


@pytest.mark.parametrize(
    ("dtype", "size", "expected"), [("float32", 1e-6, 1), ("bfloat16", 1e-6, 0), ("bfloat16", 1, 1)]
)
def test_what_merging_rounds_off_is_known(dtype, size, expected):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 64)).to(getattr(torch, dtype))
    model = peft.get_peft_model(layers, peft.LoraConfig(r=4, target_modules=["0"]))
    torch.nn.init.normal_(model.base_model.model[0].lora_B.default.weight, std=size)
    before, change = layers[0].weight.float().clone(), layers[0].get_delta_weight("default").float()
    share = kept_share(model)
    assert share == pytest.approx(expected, abs=0.02)
    merged = model.merge_and_unload()[0].weight.float()
    assert share == pytest.approx(((merged - before) * change).sum().item() / change.square().sum().item(), rel=1e-4)


@pytest.fixture(scope="module", params=PROGRAMS)
def trained(request, tiny_checkpoint, train_file, tmp_path_factory):
    """Return the program, its options and the folder of six uninterrupted steps."""
    pytest.importorskip("peft")
    main, options = PROGRAMS[request.param]
    out = tmp_path_factory.mktemp("lora") / request.param
    main(arguments(tiny_checkpoint, train_file, out, **options, **LORA))
    return main, options, out


def test_the_model_is_merged_and_whole(trained, tiny_checkpoint):
    _, _, out = trained
    check_outputs(out, tiny_checkpoint, steps=6)
    load_model(out / "model", "float32")
    assert read_json(out / "metrics.json")["adapters_kept"] == pytest.approx(1, abs=1e-3)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_checkpoint, out / "model"))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed and not any(part in name for name in changed for part in ("norm", "embed", "lm_head", "bias"))


def test_an_interrupted_training_ends_with_the_same_weights(
    trained, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    main, options, whole = trained
    out = tmp_path / whole.name
    words = arguments(tiny_checkpoint, train_file, out, **options, **LORA)
    interrupt_twice(main, words, out / "state", monkeypatch)
    main(words)
    assert weights_hash(out / "model") == weights_hash(whole / "model")
    names = ("loss", "grad_norm", "kl", "reward")
    resumed, unbroken = (
        [[row.get(name) for name in names] for row in read_jsonl(folder / "history.jsonl")] for folder in (out, whole)
    )
    assert resumed == unbroken


def test_a_training_that_was_killed_at_its_very_end(trained, tiny_checkpoint, train_file, tmp_path, monkeypatch):
    from vision_r1.training import outputs

    main, options, whole = trained
    out = tmp_path / whole.name
    words = arguments(tiny_checkpoint, train_file, out, **options, **LORA)
    with monkeypatch.context() as patch:
        patch.setattr(outputs, "save", lambda *args, **kwargs: None)  # main imports it from there
        main(words)
    main(words)
    check_outputs(out, tiny_checkpoint, steps=6)
    assert weights_hash(out / "model") == weights_hash(whole / "model")


def test_continuous_stages_keep_the_initial_model_as_reference(tiny_checkpoint, train_file, tmp_path):
    """If stage 2 has the rewards of stage 1, both stages together equal one run of six steps, including KL."""
    pytest.importorskip("peft")
    both = {**GRPO, **LORA, "beta": 0.04, "reference": tiny_checkpoint}
    train_grpo.main(arguments(tiny_checkpoint, train_file, tmp_path / "one", **both))
    first = {"stop_at": 2, "output_checkpoint": tmp_path / "stage1/checkpoint"}
    train_grpo.main(arguments(tiny_checkpoint, train_file, tmp_path / "stage1", **both, **first))
    then = {"continue_from": tmp_path / "stage1/checkpoint"}
    second = arguments(tmp_path / "stage1/model", train_file, tmp_path / "stage2", **both, **then)
    with pytest.raises(UserError, match="stage1/model: not the weights beside which the adapters of --continue_from"):
        train_grpo.main([*second, f"--reference={tmp_path / 'stage1/model'}"])  # has these adapters merged already
    train_grpo.main(second)
    assert weights_hash(tmp_path / "stage2/model") == weights_hash(tmp_path / "one/model")


def test_stages_of_one_sft_equal_it(tiny_checkpoint, train_file, tmp_path):
    pytest.importorskip("peft")
    train_sft.main(arguments(tiny_checkpoint, train_file, tmp_path / "one", **PROGRAMS["sft"][1], **LORA))
    first = {"stop_at": 2, "output_checkpoint": tmp_path / "stage1/checkpoint"}
    train_sft.main(arguments(tiny_checkpoint, train_file, tmp_path / "stage1", **PROGRAMS["sft"][1], **LORA, **first))
    then = {"continue_from": tmp_path / "stage1/checkpoint"}
    train_sft.main(arguments(tiny_checkpoint, train_file, tmp_path / "stage2", **PROGRAMS["sft"][1], **LORA, **then))
    assert weights_hash(tmp_path / "stage2/model") == weights_hash(tmp_path / "one/model")


def test_another_reference_than_the_frozen_weights_is_refused(tiny_checkpoint, train_file, tmp_path):
    pytest.importorskip("peft")
    other = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, other)
    words = arguments(tiny_checkpoint, train_file, tmp_path, **GRPO, **LORA, beta=0.04, reference=other)
    with pytest.raises(UserError, match="--reference .*other: with --lora_r, the KL term holds on to --init"):
        train_grpo.main(words)


def test_dropout_needs_copies_that_share_no_noise(tiny_checkpoint, train_file, tmp_path):
    pytest.importorskip("peft")
    words = partial(arguments, tiny_checkpoint, train_file, **GRPO, **LORA, lora_dropout=0.5)
    with pytest.raises(UserError, match="--lora_dropout: 0.5: copies of a prompt are read once"):
        train_grpo.main(words(tmp_path / "shared"))
    train_grpo.main(words(tmp_path / "off", disable_dropout=True))
    train_grpo.main(arguments(tiny_checkpoint, train_file, tmp_path / "none", **GRPO, **LORA))
    assert weights_hash(tmp_path / "off/model") == weights_hash(tmp_path / "none/model")
    train_grpo.main(words(tmp_path / "apart", share_copies=False))
    assert weights_hash(tmp_path / "apart/model") != weights_hash(tmp_path / "none/model")


def test_the_adapters_settings_decide_which_state_is_resumed(tiny_checkpoint, train_file, tmp_path):
    pytest.importorskip("peft")
    from vision_r1.training.settings import settings_of

    words = arguments(tiny_checkpoint, train_file, tmp_path, **LORA)
    parsed, *_, config = train_sft.parse_args(words)
    settings = settings_of(parsed, config, train_sft.__file__, {})
    assert (settings["lora_r"], settings["lora_alpha"], settings["lora_target_modules"]) == (2, 4, "all-linear")


def test_adapters_of_other_layers_are_not_loaded(tiny_checkpoint, tmp_path):
    peft = pytest.importorskip("peft")

    def adapted(layers):
        config = lora_config(LoRAArguments(lora_r=2, lora_target_modules=layers))
        return peft.get_peft_model(load_model(tiny_checkpoint, "float32"), config)

    some = adapted(".*q_proj")
    with pytest.raises(UserError, match="holds no adapters, but --lora_r is given"):
        check_adapters(some, tmp_path)
    some.save_pretrained(tmp_path)
    check_adapters(some, tmp_path)
    check_adapters(load_model(tiny_checkpoint, "float32"), tmp_path / "none")  # no adapters, nothing to check
    with pytest.raises(UserError, match="adapter_model.safetensors: 2 weights differ from the model's, the first is"):
        check_adapters(adapted(".*[qv]_proj"), tmp_path)


def test_adapters_on_embeddings_that_are_the_output_layer_are_refused(tiny_checkpoint, train_file, tmp_path):
    pytest.importorskip("peft")
    with pytest.raises(UserError, match="--lora_target_modules: matches the embeddings, which this model"):
        train_sft.main(arguments(tiny_checkpoint, train_file, tmp_path, **LORA, lora_target_modules=".*embed_tokens"))
