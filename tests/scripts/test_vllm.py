"""vLLM on a CPU, in the programs, in the environment of `make test-vllm`. Not part of `make test`."""

import json
import logging
import os
import subprocess
import sys

import coco_factory
import pytest
from tiny_models import PIXELS, make_checkpoint, write_train_file
from training_helpers import arguments, check_outputs, weights_hash

from vision_r1.evaluation.answers import BACKENDS
from vision_r1.families import FAMILIES
from vision_r1.files import read_json, read_jsonl
from vision_r1.models import load_model

pytestmark = pytest.mark.vllm
log = logging.getLogger(__name__)

ENVIRONMENT = {
    **{"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"},
    **{"TORCH_COMPILE_DISABLE": "1", "HF_HUB_OFFLINE": "1"},  # compiling takes longer than all the tests
}
PROTOCOLS = {
    "every": {"prompts": "per-category", "max_new_tokens": 24},
    "small": {"prompts": "per-category", "max_new_tokens": 24, "max_pixels": 3136},
    "penalised": {"prompts": "per-category", "max_new_tokens": 24, "repetition_penalty": 1.3},
}
# vLLM's CPU build packs the weights of linear layers after loading, and can't take the new ones that TRL sends later.
# Without oneDNN they stay unpacked; on processors with AMX, without SGL's kernels as well. The reward is an answer's
# length, because an untrained model writes no JSON.
TRAIN = """
import os, sys
import vllm._custom_ops
import vllm.model_executor.layers.utils
vllm._custom_ops._supports_onednn = False
vllm.model_executor.layers.utils.check_cpu_sgl_kernel = lambda *_: False
import processes, train_grpo
from vision_r1 import cli, rewards
rewards.RewardFunction.__call__ = lambda self, completions, **_: [len(each[0]["content"]) for each in completions]
if os.environ.get("STOP_AT"):
    processes._get_sigterm(int(os.environ["STOP_AT"]))
cli.run(train_grpo.main, sys.argv[1:])
"""


def run(root, words, code=0, **environment):
    """Run a program, or code after -c, in a separate process."""
    places = {"PYTHONPATH": os.pathsep.join([str(root / "workflow/scripts"), str(root / "tests")])}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        **{"env": os.environ | ENVIRONMENT | places | environment, "cwd": root, "timeout": 600},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True},
    )
    assert done.returncode == code, done.stdout[-6000:]


@pytest.fixture(scope="module", params=FAMILIES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(name, tmp_path_factory):
    """A folder as on the hub. With weights three times as large as usual, answers differ between images."""
    folder = tmp_path_factory.mktemp(name) / "model"
    make_checkpoint(folder, name, {"qwen2_5_vl": "older", "qwen3_vl": "newer"}[name], head_size=32)
    model = load_model(folder, "float32")
    for weights in model.parameters():
        if weights.ndim > 1:
            weights.data *= 3
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def words(root, name, checkpoint, tmp_path_factory):
    """Return a function: (backend, output) -> the command that predicts. Only for `small` images have to be resized."""
    side = 96 if name == "qwen3_vl" else 84
    scenes = coco_factory.write(tmp_path_factory.mktemp("data"), coco_factory.content(size=(side, side)))

    def command(backend, output):
        values = {
            **{"family": name, "checkpoint": checkpoint, "min_pixels": 784, "max_pixels": 9216, "batch_size": 4},
            **{"dtype": "float32", "backend": backend, "output_predictions": output},
        }
        return [
            *(root / "workflow/scripts/predict_suite.py", "--dataset", "scenes", *scenes),
            *(word for each, entry in PROTOCOLS.items() for word in ("--protocol", each, json.dumps(entry))),
            *(word for key, value in values.items() for word in (f"--{key}", str(value))),
        ]

    return command


@pytest.fixture(scope="module")
def predicted(root, words, tmp_path_factory):
    """{backend: lines of its predictions}."""
    folder = tmp_path_factory.mktemp("predictions")
    for backend in BACKENDS:
        run(root, words(backend, folder / f"{backend}.jsonl"), VLLM_ENABLE_V1_MULTIPROCESSING="0")
    return {backend: read_jsonl(folder / f"{backend}.jsonl") for backend in BACKENDS}


def apart(one, other):
    """Return the largest difference of the log-probabilities of two equal answers."""
    assert [offset for offset, _ in one["tokens"]] == [offset for offset, _ in other["tokens"]]
    return max(abs(a - b) for (_, a), (_, b) in zip(one["tokens"], other["tokens"], strict=True))


def test_answers_and_log_probabilities_are_those_of_transformers(predicted, name):
    numbers = {"tokens", "mean_logprob"}
    most = dict.fromkeys(PROTOCOLS, 0.0)
    for one, other in zip(predicted["transformers"], predicted["vllm"], strict=True):
        assert {key: one[key] for key in one.keys() - numbers} == {key: other[key] for key in other.keys() - numbers}
        most[one["protocol"]] = max(most[one["protocol"]], apart(one, other))
    texts = {line["completion"] for line in predicted["vllm"]}
    count = len(predicted["vllm"])
    log.info("%s: %d equal answers, %d texts; log-probabilities at most %s apart", name, count, len(texts), most)
    assert len(texts) > count / 2
    of = {each: [line["completion"] for line in predicted["vllm"] if line["protocol"] == each] for each in PROTOCOLS}
    assert of["penalised"] != of["every"]
    # transformers resizes with Pillow, vLLM with torchvision.
    assert max(most["every"], most["penalised"]) <= 2e-4 and most["small"] <= 0.02


def test_two_processes_share_the_questions(root, words, predicted, tmp_path):
    """As on two GPUs, except for the GPUs themselves: tests/unit/test_launcher.py has those."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run(root, [*launch, *words("vllm", tmp_path / "both.jsonl")])
    both = read_jsonl(tmp_path / "both.jsonl")
    assert [line["completion"] for line in both] == [line["completion"] for line in predicted["vllm"]]
    assert max(map(apart, both, predicted["vllm"])) <= 2e-4


def test_a_training_samples_with_a_colocated_vllm(root, name, checkpoint, tmp_path):
    """At each step vLLM and the trainer give sampled tokens the same probability: prompts and weights agree."""
    rows, out, again, other = write_train_file(tmp_path, name), *(tmp_path / each / "grpo" for each in "abc")
    options = {
        **{"family": name, "per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "beta": 0.04},
        **{"max_completion_length": 16, "learning_rate": 1e-2, "criterion": "released_2025", "recall_threshold": 0.5},
        **{"precision_low": 0.5, "precision_high": 0.75, "use_vllm": True, "vllm_max_model_length": 512, "top_k": 0},
        **{"max_steps": 3, "save_steps": 1, "min_pixels": PIXELS[0], "max_pixels": PIXELS[1]},
        **{"shuffle_dataset": False, "sample_steps": 1, "output_completions": out / "completions.jsonl"},
    }
    run(root, ["-c", TRAIN, *arguments(checkpoint, rows, out, **options)])
    check_outputs(out, checkpoint, steps=3)
    assert "vllm" in read_json(out / "metrics.json")["versions"]
    logged = [entry for entry in read_jsonl(out / "history.jsonl") if "loss" in entry]
    apart = [entry["sampling/sampling_logp_difference/mean"] for entry in logged]
    log.info("%s: log-probabilities are %s apart in the mean, KL %s", name, apart, [entry["kl"] for entry in logged])
    # Not zero: vLLM's probabilities leave out the tokens that are never sampled.
    assert max(apart) < 0.1 and logged[-1]["kl"] > 0.01

    run(root, ["-c", TRAIN, *arguments(checkpoint, rows, again, **options)], code=143, STOP_AT="2")
    run(root, ["-c", TRAIN, *arguments(checkpoint, rows, again, **options)])
    assert weights_hash(again / "model") == weights_hash(out / "model")

    # Another training seed draws other completions for the same prompts; by default, vLLM would draw the same ones.
    options |= {"seed": 2, "max_steps": 1, "output_completions": other / "completions.jsonl"}
    run(root, ["-c", TRAIN, *arguments(checkpoint, rows, other, **options)])
    one, two = (read_jsonl(each / "completions.jsonl")[:8] for each in (out, other))
    assert [row["prompt"] for row in one] == [row["prompt"] for row in two]
    assert [row["completion"] for row in one] != [row["completion"] for row in two]
