"""Every field of TRL's configurations is a key or is refused with a reason; generated files match the pinned TRL."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields

import pytest
import yaml

from vision_r1 import configuration, trl_fields
from vision_r1.experiments import experiment_config, merge
from vision_r1.files import UserError
from vision_r1.flags import of_values

HEADER = "# Generated from the pinned TRL by `make docs`: fields of its configurations, TRL's words and defaults.\n"
GDPO = {"multi_objective_aggregation": "normalize_then_sum"}
# A value that is not the default, by type.
OTHER = {"boolean": True, "integer": 3, "number": 0.25, "string": "word", "object": {"key": 1}, "array": ["a", "b"]}


def generated():
    return {section: trl_fields.described(section) for section in trl_fields.SECTIONS}


def test_fields_are_those_of_the_pinned_trl(root, request):
    path = root / "config/trl_fields.yaml"
    text = HEADER + yaml.safe_dump(generated(), sort_keys=False, width=1000, allow_unicode=True)
    if request.config.getoption("--fix"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run `make docs`"


def test_defaults_in_the_code_are_trls(root):
    trls, package = generated()["grpo"], root / "workflow/scripts/vision_r1"
    texts = [path.read_text() for path in (package / "objectives.py", *(package / "preflight").glob("*.py"))]
    used = [each for text in texts for each in re.findall(r'values\.get\("(\w+)", ([^()]+)\)', text)]
    defaults = {key: ast.literal_eval(value) for key, value in used if key in trls}
    assert len(defaults) > 10
    del defaults["bf16"]  # TRL's depends on the machine
    assert defaults == {key: trls[key]["default"] for key in defaults}


@pytest.mark.parametrize("section", trl_fields.SECTIONS)
def test_no_field_is_forgotten(schema, section):
    """Reasons are only given for fields that exist."""
    import trl

    names = {item.name for item in fields(getattr(trl, trl_fields.SECTIONS[section])) if item.init}
    keys = schema["properties"][section]["properties"]
    ours = {"refinement", "step", "completion_room", "share_copies", "updates_per_generation"}
    assert names == (keys.keys() - ours) | {name for name in names if trl_fields.refused(name, section)}
    assert not [name for name in keys if trl_fields.refused(name, section)]


def test_every_reason_is_about_a_field():
    import trl

    of_sections = {key: {item.name for item in fields(getattr(trl, of))} for key, of in trl_fields.SECTIONS.items()}
    names = {name for key, of in of_sections.items() for name in (*of, *(f"{key}.{each}" for each in of))}
    for reason, given in trl_fields._REASONS.items():
        for each in given:
            assert any(name == each or (each.endswith("_") and name.startswith(each)) for name in names), (reason, each)


def test_our_choices_are_trls(root, schema):
    """Where our descriptions replace TRL's, its choices and types stay."""
    trls = configuration.load([root / "config/trl_fields.yaml"])
    for section in trl_fields.SECTIONS:
        for name, key in schema["properties"][section]["properties"].items():
            theirs = trls[section].get(name, {}).get("enum")
            if theirs and name != "lr_scheduler_type":  # its other values need arguments, or an evaluation
                assert key["enum"] == theirs or name == "vllm_mode" and {*key["enum"]} == {*theirs}, name


def other_value(name, key):
    """Return a value of a key that is not TRL's default."""
    special = {"activation_checkpointing_kwargs": {"every_n_layers": 2}, "debug": "underflow_overflow"}
    special |= {"lr_scheduler_kwargs": {"num_cycles": 2}, "generation_kwargs": {"top_h": 0.5}, "bf16": False}
    special |= {"max_length": 7, "liger_kernel_config": {"rope": True}, "warmup_steps": 4}
    if name in special:
        return special[name]
    if "enum" in key:
        return next(each for each in key["enum"] if each not in (key["default"], None))
    kinds = [key["type"]] if isinstance(key["type"], str) else key["type"]
    if kinds[0] == "boolean":
        return not key["default"]
    return [0.5, 0.25] if key.get("items") == {"type": "number"} else OTHER[kinds[0]]


# Fields that TRL checks together with others, or against the machine's packages and devices.
TOGETHER = {"fp16", "tf32", "torch_compile_backend", "torch_compile_mode", "deepspeed"} | {
    *("vllm_importance_sampling_clip_min", "num_generations", "steps_per_generation", "gradient_accumulation_steps"),
    *("dataloader_prefetch_factor", "full_determinism"),
    *("per_device_train_batch_size", "bf16", "use_liger_kernel", "use_vllm", "torch_compile", "gradient_checkpointing"),
}


@pytest.mark.parametrize("section", trl_fields.SECTIONS)
def test_values_reach_trl(section, root, tmp_path):
    """All keys as flags in one call: TRL's object has their values."""
    import trl

    from vision_r1.training.arguments import StageParser

    config = getattr(trl, trl_fields.SECTIONS[section])
    keys = configuration.load([root / "config/trl_fields.yaml"])[section]
    given = {name: other_value(name, key) for name, key in keys.items() if name not in TOGETHER}
    parser = StageParser((config,), "")
    (read,) = parser.parse(of_values({**given, "output_dir": str(tmp_path), "bf16": False, "use_cpu": True}))
    for name, value in given.items():
        got = getattr(read, name)
        got = getattr(got, "value", got)
        if name == "debug":
            got = got[0].value
        assert got == value, name
    assert trl_fields.described(section) == keys  # although the parser has changed the types of TRL's fields by now


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"grpo": {"sync_ref_model": True}},
            "can't be set here: the reference model's changed weights are in no checkpoint",
        ),
        ({"sft": {"output_dir": "x"}}, "'output_dir' can't be set here: the pipeline sets it"),
        ({"sft": {"shuffle_dataset": True}}, "TRL's SFT samples images at random either way"),
        ({"grpo": {"average_tokens_across_devices": False}}, "TRL's GRPO doesn't read it; grpo.loss_type says"),
        ({"grpo": {"hub_token": "x"}}, "'hub_token' can't be set here: push_to_hub.py uploads a release"),
        ({"grpo": {"importance_sampling_levle": "token"}}, "did you mean 'importance_sampling_level'"),
        ({"grpo": {"zzz": 1}}, "unknown key 'zzz'; docs/configuration.md lists all"),
        ({"grpo": {"importance_sampling_level": "word"}}, "'word' is not one of token, sequence"),
        ({"grpo": {"top_entropy_quantile": "0.2"}}, "grpo.top_entropy_quantile: '0.2' is text, not a number"),
        ({"grpo": {"min_p": 3.0}}, "grpo.min_p: 3.0 is too large; give at most 1"),
        ({"sft": {"dataloader_num_workers": -1}}, "sft.dataloader_num_workers: -1 is too small"),
        ({"experiments": {"own": {"grpo": {"updates_per_generation": 4, "steps_per_generation": 8}}}}, "leave one of"),
        ({"grpo_stage2": {"epsilonn": 1.0}}, "grpo_stage2: unknown key 'epsilonn'; did you mean 'epsilon'"),
        ({"experiments": {"own": {"grpo": {"entropy_coeff": 1.0}}}}, "experiments.own.*did you mean 'entropy_coef'"),
    ],
)
def test_a_wrong_key_is_reported_in_one_line(schema, default, values, message):
    with pytest.raises(UserError, match=message) as error:
        configuration.check(merge(default, values), schema)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**GDPO, "scale_rewards": "none"},
            "scale_rewards: none has no effect",
        ),
        ({"loss_type": "cispo"}, "epsilon_high: 0.2: cispo caps the importance ratio itself"),
        ({"loss_type": "luspo"}, "loss_type: luspo weights whole completions"),
        ({"epsilon_high": 0.1}, "epsilon_high: 0.1 is below epsilon, 0.2"),
        ({"delta": 1.1}, "delta: 1.1 is not above the clipped ratio's bound"),
        ({"loss_type": "sapo", "epsilon_high": 0.3}, "epsilon_high: sapo doesn't clip the importance ratio"),
        ({"loss_type": "vespo", "use_vllm": True}, "vllm_importance_sampling_mode: sequence_mask: vespo needs"),
        ({"num_iterations": 3}, "save_steps: 20 is not a multiple of 3"),
        ({"bf16": True, "fp16": True}, "fp16: true, and bf16 is true"),
    ],
)
def test_a_contradiction_is_reported_in_one_line(schema, default, values, message):
    with pytest.raises(UserError, match=message) as error:
        configuration.check(merge(default, {"grpo": values}), schema)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"loss_type": "sapo"},
        {"loss_type": "vespo"},
        {"delta": 4.0},
        {"scale_rewards": "batch"},
        {"loss_type": "cispo", "epsilon_high": 5.0},
        GDPO,
        {"loss_type": "vespo", "use_vllm": True, "vllm_importance_sampling_correction": False},
    ],
    ids=str,
)
def test_unused_shipped_experiments_are_not_checked_for_contradictions(schema, default, values):
    """An objective of the whole run may contradict that of a shipped experiment that isn't run."""
    configuration.check(merge(default, {"grpo": values}), schema)


def test_a_whole_run_with_another_methods_reward(schema, default):
    configuration.check(merge(default, {"reward": {"criterion": "rex_omni"}}), schema)


def test_an_experiments_own_steps_per_generation_win(default):
    own = {"updates_per_generation": 4}, {"own": {"grpo": {"steps_per_generation": 2}}}
    config = merge(default, {"grpo": own[0], "experiments": own[1]})
    assert experiment_config(config, "own")["grpo"]["steps_per_generation"] == 2


def test_updates_per_generation_count_optimiser_steps(default):
    config = merge(default, {"grpo": {"gradient_accumulation_steps": 2}})
    grpo = experiment_config(config, "four_updates")["grpo"]
    assert grpo["steps_per_generation"] == 8 and "updates_per_generation" not in grpo


@pytest.mark.parametrize("section", trl_fields.SECTIONS)
def test_every_number_has_a_bound(schema, section):
    """Any other number would be accepted, and end a training hours later."""
    bounds = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "enum", "$ref", "anyOf", "oneOf"}
    for name, entry in schema["properties"][section]["properties"].items():
        kinds = entry.get("type", [])
        if {"number", "integer"} & {*([kinds] if isinstance(kinds, str) else kinds)}:
            assert bounds & entry.keys(), name


def test_defaults_in_the_file_are_trls(root):
    import trl

    keys = configuration.load([root / "config/trl_fields.yaml"])
    for section, config in trl_fields.SECTIONS.items():
        for item in fields(getattr(trl, config)):
            if item.name in keys[section] and item.default is not MISSING:
                assert keys[section][item.name]["default"] == getattr(item.default, "value", item.default)


def test_reading_a_configuration_imports_no_torch(root):
    code = "import sys; from vision_r1.configuration import read_schema; read_schema('config')"
    code += "; sys.exit(bool({'torch', 'trl', 'transformers'} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": "workflow/scripts"}
    assert subprocess.run([sys.executable, "-c", code], cwd=root, env=environment).returncode == 0
