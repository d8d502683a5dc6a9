"""The configuration: every file is valid, every mistake is reported in one line, the reference is up to date."""

import copy

import pytest
import yaml
from configurations import CONFIGURATIONS, ON_GPUS, surveyed
from configurations import load as load_configuration

from vision_r1 import configuration
from vision_r1.configuration_reference import reference
from vision_r1.data.worlds import SHIFTS, WORLDS
from vision_r1.experiments import STAGE_THRESHOLDS, STAGES, VISION_R1, merge, training_values
from vision_r1.files import UserError
from vision_r1.rewards import CRITERIA
from vision_r1.zoo import ZOO

OF_REX_OMNI = {"report": {"experiments": ["rex_omni"]}}
CONTINUOUS = {"grpo": {"refinement": "continuous"}}
SCALE_SECTIONS = ["model", "data", "sft", "grpo", "evaluation", "compute"]


@pytest.fixture(scope="session")
def load(root):
    return lambda path: yaml.safe_load((root / path).read_text())


@pytest.fixture
def config(default):
    return copy.deepcopy(default)


def test_default_is_valid(config, schema):
    configuration.check(config, schema)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_shipped_configurations_are_valid(root, schema, name):
    config = load_configuration(root, name)
    configuration.check(config, schema)
    # Four updates per generation divide the miniature's number of steps, but not the paper's 1531.
    others = {"four_updates", "gspo", "cispo", "clip_higher"} if name in ON_GPUS else set()
    every = [name for name in config["experiments"] if name not in others]
    configuration.check(merge(config, {"ablations": {"experiments": every}}), schema)


def test_the_schema_has_the_codes_criteria(schema):
    assert schema["properties"]["reward"]["properties"]["criterion"]["enum"] == [*CRITERIA, *ZOO]
    assert list(CRITERIA) == list(VISION_R1)


def test_the_schema_has_the_codes_recipes(schema):
    for key in ("recipe", "over"):
        assert schema["properties"][key]["enum"] == list(configuration.RECIPES)


def test_parts_and_weights_apply_only_to_their_criterion(config, schema):
    """Another method's reward has its own parts, and so does Vision-R1's if the configuration has another method's."""
    config["report"]["experiments"] = ["rex_omni", "strict", "without_format"]
    vision_r1 = {"reward": {"criterion": "paper", "differentiate": False}, "grpo": {"reward_weights": [1.0, 0.5, 0.0]}}
    rex_omni = {"reward": {"criterion": "rex_omni"}, "grpo": {"reward_weights": [2.0]}}
    for others, weights in ((vision_r1, [1.0, 0.5, 0.0]), (rex_omni, None)):
        merged = merge(config, others)
        if others is vision_r1:
            configuration.check(merged, schema)
        values = {name: training_values(merged, f"{name}/grpo_stage1") for name in ("rex_omni", "strict")}
        assert values["rex_omni"].keys() & {"differentiate", *STAGE_THRESHOLDS} == set()
        assert values["rex_omni"].get("reward_weights") == (None if weights else [2.0])
        assert values["strict"].get("reward_weights") == weights
    with pytest.raises(UserError, match="experiments.without_format: reward_weights: 3 given for 1"):
        configuration.check(merge(config, rex_omni), schema)


def test_no_configuration_is_forgotten(root):
    laid_over = {file for files in CONFIGURATIONS.values() for file in files}
    names = ("config", "datasets", "experiments", "published", "schema", "trl_fields")
    others = {f"config/{name}.yaml" for name in names}
    others |= {"config/qwen3_vl_8b.yaml", "config/released_script.yaml"}  # renamed
    assert {f"config/{path.name}" for path in (root / "config").glob("*.yaml")} == (laid_over | others) - {
        "tests/smoke.yaml"
    }


@pytest.mark.parametrize("name", [name for name in ON_GPUS if name != "paper"])
def test_an_overlay_of_the_paper_only_has_keys_that_differ(load, root, name):
    """A key that repeats paper.yaml's value would not follow when that changes."""
    base = load_configuration(root, "paper")

    def repeated(values, others, path):
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(others.get(key), dict):
                yield from repeated(value, others[key], f"{path}.{key}")
            elif value == others.get(key, ...):
                yield f"{path}.{key}"

    assert not set(repeated(load(f"config/{name}.yaml"), base, ""))


def test_trls_other_defaults_are_set_for_the_paper(load):
    """If TRL's default differs, leaving the key out would silently change the method."""
    paper = load("config/paper.yaml")["grpo"]
    values = {
        **{"loss_type": "grpo", "beta": 0.2, "num_generations": 4, "num_train_epochs": 1, "shuffle_dataset": True},
        **{"gradient_checkpointing": True, "max_completion_length": 512, "top_k": 50, "scale_rewards": "group"},
    }
    assert {key: paper[key] for key in values} == values


def test_training_keys_are_trls_own(schema):
    from dataclasses import fields

    from trl import GRPOConfig, SFTConfig

    ours = {"completion_room", "refinement", "share_copies", "step", "updates_per_generation"}
    for section, config in (("sft", SFTConfig), ("grpo", GRPOConfig)):
        assert set(schema["properties"][section]["properties"]) - ours <= {item.name for item in fields(config)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grpo": {"learning_rate": "1e-6"}}, "grpo.learning_rate: '1e-6' is text, not a number.*1.0e-06"),
        (
            {"evaluation": {"shards": 2}},
            "config: evaluation: 'shards' is gone; compute.launch_predict and compute.pred",
        ),
        ({"grpo": {"lerning_rate": 1.0e-6}}, "grpo: unknown key 'lerning_rate'; did you mean 'learning_rate'.$"),
        ({"sft": {"max_steps": "many"}}, "sft.max_steps: 'many' is text, not a whole number"),
        (
            {"over": "papr"},
            "over: 'papr' is not one of miniature, paper, midi; did you mean 'paper'",
        ),
        (
            {"over": "paper"},
            "over: changes recipe 'paper', but the recipe is 'miniature'; give config/",
        ),
        (
            {"evaluation": {"protocols": {"one-prompt": {"min_pixels": 90000}}}},
            "evaluation.protocols.one-prompt.min_pixels: 90000 is above max_pixels 7840",
        ),
        (
            {"model": {"min_pixels": 5000}, "experiments": {"kl_free": {"data": {"answer_pixels": 3136}}}},
            "experiments.kl_free.data.answer_pixels: 3136 is below model.min_pixels",
        ),
        ({"reward": {"criterion": "best"}}, "reward.criterion: 'best' is not one of"),
        (
            {"grpo": {"reward_weights": [1.0, 1.0]}},
            "config: experiments.strict: reward_weights: 2 given for 3 .dual_format, recall, precision.",
        ),
        (
            OF_REX_OMNI | {"experiments": {"rex_omni": {"grpo": {"reward_weights": [1.0, 1.0, 1.0]}}}},
            "config: experiments.rex_omni: reward_weights: 3 given for 1 .f1.; give one for each part",
        ),
        (
            OF_REX_OMNI | {"experiments": {"rex_omni": {"reward": {"label_aware": True}}}},
            "config: experiments.rex_omni: label_aware: not a key of rex_omni, only of Vision-R1's",
        ),
        (
            {"report": {"experiments": ["nope"]}},
            "report.experiments: 'nope' is not an experiment.*released_2025, released_script, ",
        ),
        ({"report": {"suites": ["lvis"]}}, "report.suites: 'lvis' is not a suite"),
        ({"grpo_stage2": {"init": "stage1"}}, "grpo_stage2.init: unknown checkpoint 'stage1'; give one of base"),
        (
            {"experiments": {"mine": {"grpo_stage1": {"init": "grpo_stage2"}}}},
            "config: experiments.mine.grpo_stage1.init",
        ),
        ({"experiments": {"mine": {"sft": {"max_steps": 7}}}}, "experiments.mine.sft: .* doesn't train this stage"),
        (
            {"experiments": {"mine": {"stages": ["grpo_stage2"]}}},
            "experiments.mine.grpo_stage2.init: unknown checkpoint 'grpo_stage1'; give one of base, sft, or <another",
        ),
        (
            {"experiments": {"mine": {"grpo_stage2": {"init": "strict/grpo_stage2"}}}},
            "config: experiments.mine.grpo_stage2.init: unknown checkpoint 'strict/grpo_stage2'; .*<an earlier stage",
        ),
        (
            {"experiments": {"mine": {"grpo_stage2": {"init": "beginner_only/grpo_stage1"}}}},
            "config: experiments.mine.grpo_stage2.init: unknown checkpoint 'beginner_only/grpo_stage1'",
        ),
        (
            {"report": {"experiments": ["step_1_2"]}, "experiments": {"step_1": {"grpo": {"learning_rate": 1.0e-5}}}},
            "experiments.step_1_2: .* the schedule of step_1/grpo_stage1, .* another learning_rate; give",
        ),
        (CONTINUOUS | {"grpo_stage2": {"learning_rate": 1e-5}}, "grpo_stage2.learning_rate: .* share one optimiser"),
        (CONTINUOUS | {"grpo_stage2": {"init": "base"}}, "grpo_stage2.init: .* resumes grpo_stage1"),
        (
            CONTINUOUS | {"grpo_stage1": {"max_steps": -1}},
            "grpo_stage1.max_steps: .* the step at which thresholds rise",
        ),
        ({"experiments": {"mine": {"reward": {"criterio": "strict"}}}}, "config: experiments.mine.reward: unknown key"),
        ({"experiments": {"mine_s1": {}}}, "experiments.mine_s1: the name is taken"),
        ({"experiments": {"processor": {}}}, "experiments.processor: the name is taken"),
        ({"experiments": {"mine": {"sfft": {}}}}, "experiments.mine: unknown key 'sfft'"),
        ({"data": {"train": ["cocoo"]}}, "data.train: 'cocoo' is not a data set"),
        ({"evaluation": {"suites": {"shapes": ["nope"]}}}, "evaluation.suites.shapes: 'nope' is not a data set"),
        ({"evaluation": {"suite_protocols": {"shapes": ["nope"]}}}, "suite_protocols.shapes: 'nope' is not a protocol"),
        ({"model": {"source": "hub"}}, "model.id: missing"),
        ({"model": {"source": "hub", "id": "a/b", "revision": "main"}}, "model.revision: give the 40 hex digits"),
        ({"run": "../up"}, "run: '../up': lower-case letters, digits and _ only$"),
        ({"run": "downloads"}, "run: 'downloads' is not allowed; the name is taken"),
        ({"model": {"family": "gpt"}}, "model.family: 'gpt' is not a family.*qwen2_5_vl"),
        ({"model": {"family": "qwen3_vl"}}, "model.source: only a qwen2_5_vl can be made"),
        ({"model": {"min_pixels": 9999}}, "model.min_pixels: larger than"),
        ({"base": {"drop": 0.5, "detection_share": 0.9}}, "base.*_share: the three shares sum to 1.3"),
        ({"data": {"min_instances": 31}}, "data.min_instances: larger than"),
        ({"data": {"train": ["scenes_test"]}}, "evaluation.suites.shapes: 'scenes_test' is trained on"),
        (
            {"datasets": {"mean": {"annotations": "a", "images": "b"}}},
            "datasets: 'mean' is not allowed; the name is taken",
        ),
        (
            {"datasets": {"x": {"annotations": "a", "images": {"archive": "nope", "path": "p"}}}},
            "'nope' is not an archive",
        ),
        ({"datasets": {"thermal": {"scenes": {"shift": "heat"}}}}, "datasets.thermal.*'heat' is not one of"),
        ({"grpo_stage1": {"precision_low": 0.8}}, "config: experiments.strict.grpo_stage1.precision_low: larger than"),
        (
            {"grpo": {"gradient_accumulation_steps": 1, "steps_per_generation": 2}, "grpo_stage1": {"save_steps": 25}},
            "config: experiments.strict.grpo_stage1.save_steps: 25 is not a multiple of 2",
        ),
        (
            {
                "grpo": {"steps_per_generation": 2, "save_steps": 2, "refinement": "continuous"},
                "grpo_stage1": {"max_steps": 5},
            },
            "config: experiments.strict.grpo_stage1.max_steps: 5 is not a multiple of 2",
        ),
        ({"reward": {"criterion": "official"}}, "reward.criterion: 'official' is now 'released_2025'"),
        ({"report": {"experiments": ["single_beginner"]}}, "report.experiments: 'single_beginner' is now 'step_1'"),
        ({"evaluation": {"protocols": {"one-prompt": {"parser": "strict"}}}}, "'parser' is now 'reader'"),
        ({"evaluation": {"protocols": {"official-coco": {"max_new_tokens": 64}}}}, "'official-coco' is now 'released-"),
        ({"report": {"suites": ["coco"]}}, "report.suites: 'coco' is now 'shapes'"),
        ({"reward": {"criterion": ["paper"]}}, "reward.criterion: .*is not one of"),
        ({"evaluation": {"protocols": {"one-prompt": {"names": {"nope": {"a": "b"}}}}}}, "names: 'nope' is not a data"),
        (
            {"evaluation": {"protocols": {"one-prompt": {"names": {"tiny": {"a": "c", "b": "c"}}}}}},
            "two categories get one name",
        ),
        ({"renamed": "config/a.yaml"}, "this file is now config/a.yaml; give that after --configfile"),
        (
            {"grpo_stage2": {"max_steps": -1}},
            "config: experiments.step_1_2.grpo.step: it is a share of both stages' max_steps",
        ),
        ({"templates": {"rec": "Where?"}}, "templates.rec: 'Where.': the text must contain {phrase}$"),
        ({"sft": {"max_pixels": 7}}, "sft: 'max_pixels' can't differ between arms.*set section model"),
        ({"experiments": {"mine": {"data": {"held_out": 0.5}}}}, "experiments.mine.data: 'held_out' is not one of"),
        ({"experiments": {"mine": {"grpo": {"family": "x"}}}}, "config: experiments.mine.grpo: 'family' can't differ"),
        ({"data": {"detection": 0, "grounding": 0, "negative": 0}}, "data: no samples are asked for; give detection"),
        (
            {
                "experiments": {"curriculum": {"grpo": {"refinement": "restart"}}},
                "report": {"experiments": ["curriculum"]},
            },
            "experiments.curriculum.grpo.refinement: restart, with data.order instances .*; give continuous, or",
        ),
        ({"compute": {"train_grpo": {"gpu": 8}}}, "compute.train_grpo.gpu: 8 GPUs are asked for.* starts 1 processes"),
        (
            {"compute": {"train_sft": {"gpu": 8, "nodes": 3}}},
            "compute.train_sft: 8 GPUs can't be divided evenly among 3 nodes",
        ),
        (
            {"compute": {"launch": ["bash", "train.sh"], "train_grpo": {"nodes": 2}}},
            "several nodes need accelerate launch or torchrun first, not bash",
        ),
        (
            {"lora": {"r": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"}, "grpo": {"beta": 0.04}},
            "experiments.strict.grpo.refinement: restart with lora and beta 0.04: .* give continuous, or beta 0",
        ),
        ({"lora": {"r": 8}}, "config: lora: missing: alpha"),
        (
            {"lora": {"r": 8, "alpha": 16, "dropout": 0.1, "target_modules": "all-linear"}},
            "experiments.strict.lora.dropout: 0.1: .*; give grpo.disable_dropout true, or grpo.share_copies false",
        ),
        ({"grpo": {"vllm_tensor_parallel_size": 2}}, "vllm_tensor_parallel_size: 1 processes .* can't be grouped by 2"),
        ({"grpo": {"vllm_mode": "remote"}}, "grpo.vllm_mode: 'remote' is not one of"),
        (
            {"grpo": {"num_generations": 7}},
            "128 completions are generated at once.*not a multiple of num_generations 7",
        ),
        (
            {
                "experiments": {
                    "a": {"grpo_stage1": {"init": "b/grpo_stage1"}},
                    "b": {"grpo_stage1": {"init": "a/grpo_stage1"}},
                }
            },
            "config: experiments.a.grpo_stage1.init: unknown checkpoint 'b/grpo_stage1'",
        ),
    ],
)
def test_a_mistake_is_reported_in_one_line(config, schema, change, message):
    with pytest.raises(UserError, match=message) as error:
        configuration.check(merge(config, change), schema)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        {"grpo": {"temperature": "hot"}},
        {"grpo_stage2": {"max_steps": 0}},
        {"lora": {"r": 8}},
        {"data": {"order": 3, "min_instances": -1}},
        {"reward": {"criterio": "strict"}, "grpo": {"beta": -1, "learning_rate": "1e-6"}},
    ],
)
def test_an_experiments_mistake_is_reported_like_one_of_the_whole_configuration(config, schema, overrides):
    """Although only the sections that the experiment overrides are checked."""
    with pytest.raises(UserError) as whole:
        configuration.check_schema(merge(config, overrides), schema, "experiments.mine.")
    with pytest.raises(UserError) as nested:
        configuration.check(merge(config, {"experiments": {"mine": overrides}}), schema)
    assert str(nested.value) == str(whole.value)


def test_a_batch_only_needs_to_fit_the_requested_experiments(config, schema):
    smaller = merge(config, {"grpo": {"per_device_train_batch_size": 8, "steps_per_generation": 1}})
    configuration.check(smaller, schema)
    with pytest.raises(UserError, match="config: experiments.group_of_16.grpo_stage1: 8 completions"):
        configuration.check(merge(smaller, {"ablations": {"experiments": ["strict", "group_of_16"]}}), schema)


@pytest.mark.parametrize(
    "change",
    [
        {"grpo_stage2": {"temperature": 0.8}},
        {"grpo_stage1": {"learning_rate": 1e-5}},
        {"grpo_stage1": {"max_steps": -1}},
    ],
)
def test_what_only_shipped_continuous_experiments_refuse_can_be_set(config, schema, change):
    for section in ("report", "ablations"):
        config[section]["experiments"] = ["strict"]
    configuration.check(merge(config, change), schema)


def test_a_shared_stage_only_needs_to_fit_the_reports_experiments(config, schema):
    """With another stage 2, step_1's stage 1 doesn't end after half of all steps, which doesn't matter to strict."""
    longer = merge(config, {"grpo_stage2": {"max_steps": 300}})
    configuration.check(longer, schema)
    with pytest.raises(
        UserError, match="experiments.step_1_2: .* another end of stage 1 .grpo_stage1.max_steps, grpo.step."
    ):
        configuration.check(merge(longer, {"report": {"experiments": ["step_1_2"]}}), schema)


def test_each_chain_seed_has_its_own_folder(config):
    assert configuration.run_name(config) == "miniature"
    assert configuration.run_name(merge(config, {"seed": 1})) == "miniature_seed1"


def test_a_protocols_split_must_be_the_data_sets(config):
    """If both name a split, they must agree."""
    config["evaluation"]["protocols"]["released-one-prompt"]["split"] = "val2017"
    configuration._check_references(config)
    config["datasets"]["scenes_test"]["split"] = "test"
    with pytest.raises(
        UserError, match="'released-one-prompt' is about split 'val2017', but datasets.scenes_test is 'test'"
    ):
        configuration._check_references(config)


def test_paper_scale_inherits_no_number_from_the_miniature(default, load):
    """A key of a scale section that paper.yaml leaves out would silently keep the miniature's value."""
    paper = load("config/paper.yaml")
    for section in SCALE_SECTIONS:
        assert set(default[section]) <= set(paper[section]), section
    for stage in STAGES:
        assert paper[stage].keys() == {"max_steps", "recall_threshold", "precision_low", "precision_high"}
    assert paper["reward"] == {"criterion": "paper"}


def test_shifts_of_the_schema_are_those_of_the_code(schema):
    scenes = schema["properties"]["datasets"]["additionalProperties"]["properties"]["scenes"]
    assert scenes["properties"]["shift"]["enum"] == list(SHIFTS)
    base = schema["properties"]["base"]["properties"]
    assert scenes["properties"]["world"]["enum"] == base["world"]["enum"] == list(WORLDS)


@pytest.mark.parametrize("name", WORLDS)
def test_answers_of_a_made_world_fit_its_protocols(root, name):
    """The longest right answer in every synthetic test set is shorter than the protocols' limit."""
    for protocol in load_configuration(root, name)["evaluation"]["protocols"].values():
        for style in WORLDS[name].styles.values():
            most = 1 + 5 * style.objects[1] + 1  # fences, five tokens per object, the end
            assert most <= protocol["max_new_tokens"]


def test_reference_is_current(root, request):
    path = root / "docs/configuration.md"
    text = (
        "# Configuration reference\n\n"
        "Generated from config/schema.yaml and config/trl_fields.yaml by `make docs`; values stand in\n"
        "config/config.yaml and the files laid over it.\n\n" + reference(root / "config")
    )
    if request.config.getoption("--fix"):
        path.write_text(text)
    assert path.read_text() == text, "run `make docs`"


def test_page_of_configurations_is_current(root, request):
    """The GPUs, memory and hours on the page are those that the preflight computes."""
    from vision_r1.preflight.page import table

    path = root / "docs/configurations.md"
    summaries = {name: (CONFIGURATIONS[name], surveyed(root, name)) for name in ON_GPUS}
    before, _, _ = path.read_text().partition("| configuration |")
    text = before + table(summaries)
    if request.config.getoption("--fix"):
        path.write_text(text)
    assert path.read_text() == text, "run `make docs`"
