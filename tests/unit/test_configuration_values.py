"""Values that are invalid for every key are refused before any job, with the key's name."""

import copy
import math

import pytest
from configurations import load

from vision_r1.configuration import check, read_schema
from vision_r1.files import UserError

VALUES = [
    *(("grpo.learning_rate", value) for value in (math.nan, math.inf)),
    *(("grpo.temperature", value) for value in (math.inf, 1e-30)),
    *((key, math.nan) for key in ("grpo.beta", "guards.kl", "grpo_stage1.precision_low", "data.held_out", "base.drop")),
    *(("seed", value) for value in (1.0, 2**32, 10**30)),
    *((key, 50.0) for key in ("base.steps", "sft.max_steps", "grpo.num_generations", "evaluation.resamples")),
    *((key, 10**12) for key in ("evaluation.resamples", "evaluation.batch_size", "logging.sample_count")),
    *((key, 10**9) for key in ("base.workers", "compute.index_images.threads", "data.detection")),
    *(("run", value) for value in ("a\n", "x" * 300)),
    *(("report.title", value) for value in ("\ud800", "a\nb", "--help")),
    ("archives.coco_train2017.url", "https://me:secret@example.org/a.zip"),
    *(("base.head_size", value) for value in (16.0, 17)),
    *(("model.max_pixels", value) for value in (1, 10**15)),
    *((key, 0) for key in ("sft.max_steps", "grpo_stage1.max_steps", "grpo.top_p")),
    *(("compute.launch", value) for value in ([""], ["python; touch x"])),
    *(("grpo.completion_room", value) for value in (math.inf, 1e9)),
    *(("guards.stalled_minutes", value) for value in (math.inf, 1e-9)),
    *(("base.hidden_size", 8), ("model.id", "-x"), ("sft.deepspeed", "nowhere.json"), ("grpo.adam_beta2", 1.0)),
    *(("report.training_seeds", [2**33]), ("data.held_out", 1.0), ("data.max_prompt_tokens", 1)),
    *(("datasets.scenes_train.scenes.count", 60.0), ("datasets.scenes_train.scenes.seed", 10**30)),
    *(("experiments", {"a\n": {}}), ("evaluation.protocols.one-prompt.max_pixels", 1)),
    *((key, "my{photos}") for key in ("datasets.scenes_train.images", "model.id")),
    ("evaluation.suites.shapes", ["scenes_test", "selection"]),
    *((f"experiments.strict.{section}", {"deepspeed": "nowhere.json"}) for section in ("grpo", "grpo_stage1")),
]


@pytest.fixture(scope="module")
def default(root):
    return load(root, "miniature")


@pytest.mark.parametrize(("key", "value"), VALUES)
def test_a_refusal_names_the_key(root, default, key, value):
    config = copy.deepcopy(default)
    *path, last = key.split(".")
    section = config
    for name in path:
        section = section[name]
    section[last] = value
    with pytest.raises(UserError) as error:
        check(config, read_schema(root / "config"))
    assert key in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("section", "name"), [("datasets", 2024), ("experiments", 2024), ("sft", 1), ("evaluation", True)]
)
def test_a_name_that_yaml_takes_for_a_number_is_shown(root, default, section, name):
    config = copy.deepcopy(default)
    config[section][name] = {}
    with pytest.raises(UserError, match=f"config: {section}: the name {name!r} is not text; put it in quotes"):
        check(config, read_schema(root / "config"))
