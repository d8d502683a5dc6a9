"""On a CPU the default configuration computes in float32: few CPUs have fast bfloat16, and fewer have fast float16."""

import json
from contextlib import contextmanager

import coco_factory
import make_base_model
import predict_suite
import pytest
import torch
import train_grpo
import train_sft
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from training_helpers import arguments

from vision_r1.evaluation.protocols import OF_READING
from vision_r1.flags import of_values

SMALL = {"max_steps": 2, "per_device_train_batch_size": 8, "save_steps": 2, "logging_steps": 1}


class Recorder(TorchDispatchMode):
    """Records the names of all operations, and of those with a 16-bit operand."""

    def __init__(self):
        super().__init__()
        self.all, self.short = set(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.all.add(name)
        operands = torch.utils._pytree.tree_leaves((args, kwargs))
        if any(isinstance(each, torch.Tensor) and each.dtype in (torch.bfloat16, torch.float16) for each in operands):
            self.short.add(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def only_float32():
    with Recorder() as recorder:
        yield
    assert recorder.all & {"mm", "addmm", "linear"}
    assert not recorder.short


@pytest.fixture
def config(root):
    return yaml.safe_load((root / "config/config.yaml").read_text())


def test_the_recorder_notices_bfloat16():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.ones(4, 4)
    with pytest.raises(AssertionError), only_float32():
        torch.optim.Muon([weight]).step()


def test_base_model(config, tmp_path):
    small = {"hidden_size": 32, "text_layers": 1, "vision_layers": 1, "steps": 2, "exact_steps": 1, "batch_size": 2}
    outputs = {name: tmp_path / name for name in ("output_model", "output_metrics", "output_history")}
    with only_float32():
        make_base_model.main(of_values({**config["base"], **small, "seed": 0, "threads": 1, **outputs}))


def test_sft(config, tiny_checkpoint, train_file, tmp_path):
    with only_float32():
        train_sft.main(arguments(tiny_checkpoint, train_file, tmp_path, **{**config["sft"], **SMALL}))


def test_grpo(config, tiny_checkpoint, train_file, tmp_path):
    keys = {key: value for key, value in config["grpo"].items() if key != "refinement"}
    thresholds = {key: config["grpo_stage1"][key] for key in ("recall_threshold", "precision_low", "precision_high")}
    with only_float32():
        train_grpo.main(arguments(tiny_checkpoint, train_file, tmp_path, **{**keys, **thresholds, **SMALL}))


def test_prediction(config, tiny_checkpoint, tmp_path):
    dataset = ["small", *map(str, coco_factory.write(tmp_path))]
    options = {"family": "qwen2_5_vl", "checkpoint": tiny_checkpoint, "dtype": config["model"]["dtype"]}
    options |= {
        "min_pixels": 784,
        "max_pixels": 7840,
        "batch_size": 8,
        "output_predictions": tmp_path / "predictions.jsonl",
    }
    entry = config["evaluation"]["protocols"]["all-categories"]
    protocol = json.dumps({key: value for key, value in entry.items() if key not in OF_READING})
    with only_float32():
        predict_suite.main(["--dataset", *dataset, "--protocol", "all", protocol, *of_values(options)])
