"""The engines of config/accelerate, with two processes over gloo: same update as one process, same layout of weights.

No GPU is needed. Where numbers are compared with those of one process, `mixed_precision: "no"` replaces bf16.
"""

import sys

import engines
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import untie
from training_helpers import arguments, check_outputs, largest_change

from vision_r1.files import UserError, read_json, read_jsonl
from vision_r1.models import load_model
from vision_r1.training.weights import check_shapes, read_shapes

pytestmark = pytest.mark.slow

pytest.importorskip("deepspeed", reason="needs requirements-development.txt")
ENGINES = ("ddp", "zero2", "zero3", "fsdp")
SFT = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 3}
GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0, "beta": 0.04},
    **{"max_completion_length": 100, "criterion": "released_2025", "max_steps": 3},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}
HUB_NAMES = {
    "qwen2_5_vl": ("model.embed_tokens.weight", "model.layers.0.", "model.norm.weight", "visual.blocks.0."),
    "qwen3_vl": (
        "model.language_model.embed_tokens.weight",
        "model.language_model.layers.0.",
        "model.visual.blocks.0.",
    ),
}


def weights(folder):
    """Return {name: (type, shape)} of a checkpoint, without lm_head, which may be missing when it is tied."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys() if name != "lm_head.weight"}  # noqa: SIM118
        return {name: (weight.get_dtype(), weight.get_shape()) for name, weight in slices.items()}


def check_weights(folder, parent, family, dtype="float32"):
    """Check that a checkpoint has its parent's names, shapes and types, and that plain transformers loads it."""
    assert weights(folder) == weights(parent)
    assert all(any(name.startswith(start) for name in weights(folder)) for start in HUB_NAMES[family])
    assert read_json(folder / "config.json")["dtype"] == dtype
    load_model(folder, dtype)


@pytest.fixture(scope="module", params=["tied", "untied"])
def checkpoint(request, tiny_checkpoint, tmp_path_factory):
    """Return a checkpoint whose output head is the embedding, as in 3B, and one with a head of its own, as in 7B."""
    if request.param == "tied":
        return tiny_checkpoint
    folder = tmp_path_factory.mktemp("untied") / "model"
    untie(tiny_checkpoint, folder)
    return folder


@pytest.fixture(scope="module")
def alone(processes, checkpoint, train_file, tmp_path_factory):
    """Return the folder with trainings sft and canned_grpo of one process, which has the batches of two.

    SFT has them in one pass: its loss is the mean over the tokens of all processes. GRPO accumulates them.
    """
    out = tmp_path_factory.mktemp("alone")
    for function, options in (
        ("sft", {**SFT, "per_device_train_batch_size": 2}),
        ("canned_grpo", {**GRPO, "gradient_accumulation_steps": 2}),
    ):
        run = processes.start(function, arguments(checkpoint, train_file, out / function, **options))
        assert run.wait(600) == 0, run.output()
    return out


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("function", "options"), [("sft", SFT), ("canned_grpo", GRPO)], ids=["sft", "grpo"])
def test_two_processes_make_the_update_of_one(
    engine, function, options, alone, processes, checkpoint, train_file, tmp_path
):
    def words(name):
        return arguments(checkpoint, train_file, tmp_path / name, **options, use_cpu=None)

    # If rank 1 wrote anything, it would be to its own paths; only the state folder is shared.
    both = [words("two"), [*words("other"), "--state", str(tmp_path / "two/state")]]
    processes.run_ranks(function, both, engines.environment(engine, "--mixed_precision", "no"))
    one, two = alone / function, tmp_path / "two"
    check_outputs(two, checkpoint, steps=3)
    check_weights(two / "model", checkpoint, "qwen2_5_vl")
    assert not (tmp_path / "other").exists()
    metrics = [read_json(folder / "metrics.json") for folder in (one, two)]
    assert [figures["processes"] for figures in metrics] == [1, 2]
    assert metrics[0]["parameters"] == metrics[1]["parameters"]
    assert metrics[0]["samples_seen"] == metrics[1]["samples_seen"]

    moved = largest_change(checkpoint, one / "model")
    apart = largest_change(one / "model", two / "model")
    sys.stdout.write(f"{engine}, {function}: weights moved by up to {moved:.2g}, the two runs are {apart:.2g} apart\n")
    assert apart < 1e-5 < 1e-2 * moved
    # kl is not compared: for two processes TRL logs a mean over all tokens, for two micro-batches a mean of means.
    names = ("loss", "reward", "reward_std", "frac_reward_zero_std", "grad_norm", "advantage_std")
    histories = [read_jsonl(folder / "history.jsonl") for folder in (one, two)]
    assert function == "sft" or histories[0][0]["reward_std"] > 0
    for single, split in zip(*histories, strict=True):
        for name in single.keys() & set(names):
            assert split[name] == pytest.approx(single[name], rel=5e-5, abs=1e-6), (name, single["step"])


AS_SHIPPED = {"use_cpu": None, "bf16": True, "dtype": "bfloat16", "gradient_checkpointing": True, "max_steps": 1}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("function", "options"),
    [("sft", {"per_device_train_batch_size": 1}), ("grpo", {**GRPO, "max_completion_length": 2})],
    ids=["sft", "grpo"],
)
def test_in_bfloat16_as_shipped(engine, function, options, bfloat16_checkpoint, processes, tmp_path):
    """Qwen3-VL with the unchanged files of config/accelerate, gradient checkpointing and TRL's sampling."""
    checkpoint, train_file = bfloat16_checkpoint("qwen3_vl")
    words = arguments(checkpoint, train_file, tmp_path, family="qwen3_vl", **{**options, **AS_SHIPPED})
    processes.run_ranks(function, [words, words], engines.environment(engine))
    check_weights(tmp_path / "model", checkpoint, "qwen3_vl", "bfloat16")
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["parameters"] == load_model(checkpoint, "bfloat16").num_parameters()
    assert metrics["final"]["grad_norm"] > 0 or function == "grpo"


def test_weights_with_another_layout_than_the_parents_are_refused(tiny_checkpoint, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(UserError, match="neither model.safetensors nor"):
        read_shapes(folder)
    for change, message in (
        (lambda saved: saved.pop("visual.merger.mlp.0.bias"), "no such weight in place of F32"),
        (
            lambda saved: saved.update({"model.model.norm.weight": torch.ones(32)}),
            r"\[32\] in place of no such",
        ),
        (lambda saved: saved.update({"model.norm.weight": torch.ones(33)}), r"F32 \[33\] in place of F32 \[32\]"),
        (lambda saved: saved.update({"model.norm.weight": torch.ones(32).bfloat16()}), r"BF16 \[32\] in place of F32"),
    ):
        saved = load_file(tiny_checkpoint / "model.safetensors")
        save_file(saved, folder / "model.safetensors")
        check_shapes(folder, tiny_checkpoint, ["lm_head.weight"], "float32")
        change(saved)
        save_file(saved, folder / "model.safetensors")
        with pytest.raises(UserError, match=f"1 weights are not laid out as in {tiny_checkpoint}; .*: .*{message}"):
            check_shapes(folder, tiny_checkpoint, ["lm_head.weight"], "float32")
