"""Limits, checkpoints and vLLM's room agree in every configuration; the run's tokenizer counts answers."""

import contextlib

import pytest
import yaml
from configurations import CONFIGURATIONS, ON_GPUS, load, surveyed
from trl import GRPOConfig

from vision_r1.data.tokens import ProcessorTokens
from vision_r1.data.worlds import WORLDS
from vision_r1.experiments import merge
from vision_r1.miniature.processor import make_processor
from vision_r1.preflight.batches import training_batches
from vision_r1.preflight.lengths import ON_COCO, AnswerSize, Lengths, answer_size, lengths_of
from vision_r1.preflight.memory import GIB, Vllm
from vision_r1.preflight.page import page
from vision_r1.preflight.survey import _if_better, completion_limit, survey, training_estimate, vllm_of
from vision_r1.prompts import Templates
from vision_r1.run_folder import Run

# Right answers about real COCO images, counted with Qwen's vocabulary: objects -> fewest and most tokens seen.
COUNTED = {15: (479, 501), 16: (512, 534), 30: (959, 990)}


@pytest.mark.parametrize("objects", COUNTED)
def test_the_constants_bound_what_was_counted_on_coco(objects):
    assert COUNTED[objects][1] <= ON_COCO.tokens(objects) <= 1.02 * COUNTED[objects][1]


def test_fifteen_objects_fit_into_the_papers_limit():
    assert [ON_COCO.objects(limit) for limit in (3, 40, 512, 1024, 4096)] == [0, 1, 15, 30, 123]
    assert ON_COCO.tokens(15) <= 512 < ON_COCO.tokens(16)


# Scenes have fewer objects than data.max_instances; test_configuration.py compares their protocols with them.
@pytest.mark.parametrize("name", ON_GPUS)
def test_all_objects_fit_or_the_report_discloses_how_many_do(root, name):
    config, summary = load(root, name), surveyed(root, name)
    size = AnswerSize(**summary["answer_size"])
    disclosed = " ".join(config["report"]["disclosures"])
    completions = [each["completion_limit"] for each in summary["trainings"] if each["completion_limit"]]
    evaluation = config["evaluation"]
    asked = {name for suite in config["report"]["suites"] for name in evaluation["suite_protocols"][suite]}
    answers = [evaluation["protocols"][name]["max_new_tokens"] for name in asked]
    for limit in {*completions, *answers}:
        fit = size.objects(limit)
        assert fit >= config["data"]["max_instances"] or f"{fit} objects fit" in disclosed, limit
    # The limit of completions has room for every right answer in the training data.
    assert (config["data"]["max_answer_tokens"] or 0) <= min(completions)


@pytest.mark.parametrize("name", ON_GPUS)
def test_vllm_has_room_for_prompt_and_completion_in_every_configuration(root, name):
    config = merge(load(root, name), yaml.safe_load((root / "config/vllm.yaml").read_text()))
    needed = config["data"]["max_prompt_tokens"] + config["grpo"]["max_completion_length"]
    assert needed <= config["grpo"]["vllm_max_model_length"]


@pytest.mark.parametrize("name", ON_GPUS)
def test_checkpoints_cost_little_disk_and_lose_few_hours(root, name):
    """An interruption costs at most four hours, and an experiment writes at most 1.5 TB."""
    summary = surveyed(root, name)
    first = summary["trainings"][1]["name"].partition("/")[0]
    written = 0
    for training in summary["trainings"]:
        hours = training["gpu_hours"] / summary["launch"]["processes"]
        assert hours * training["save_steps"] / training["steps"] <= 4, training["name"]
        if training["name"].startswith(f"{first}/"):
            written += training["checkpoints"] * training["checkpoint_bytes"]
    assert written <= 1.5e12


def test_zero2_is_proposed_where_it_fits_and_takes_less(root):
    paper = surveyed(root, "paper")
    faster = paper["with_zero2"]
    assert faster["gpu_hours"] < faster["gpu_hours_now"] == sum(each["gpu_hours"] for each in paper["trainings"])
    assert max(each["memory_peak"] for each in paper["trainings"]) < faster["memory_peak"] < 79.6 * GIB
    assert f"zero2.yaml in compute.launch: {faster['gpu_hours']:,.1f} GPU-hours" in page(paper)
    seeds = page(paper | {"training_seeds": 3})
    assert f"zero2.yaml in compute.launch: {3 * faster['gpu_hours']:,.1f} GPU-hours" in seeds
    assert surveyed(root, "lora_80gb")["with_zero2"] is None
    config = load(root, "paper")
    config["preflight"]["gpu_memory_gib"] = 40
    with contextlib.chdir(root):
        assert survey(Run(root / "nothing", config))["with_zero2"] is None


def test_the_miniatures_tokenizer_counts_five_tokens_per_object(root):
    size = answer_size(load(root, "miniature"), make_processor(WORLDS["miniature"]), None)
    assert (size.fence, size.item) == (2, 5)
    # One token opens the answer and one ends it, so the seven objects of `crowd` take 37.
    assert size.tokens(7) == 37


def test_names_that_a_made_tokenizer_knows_are_counted_before_there_is_a_training_file(root):
    config = load(root, "miniature")
    config["base"]["names"], config["data"]["train"] = ["raccoon"], ["mine"]
    config["datasets"]["mine"] = {"annotations": "mine.json", "images": "mine"}
    processor = make_processor(WORLDS["miniature"], names=["raccoon"])
    assert answer_size(config, processor, None).item == 5
    config["base"]["names"] = []  # all categories are those of the scenes
    assert answer_size(config, make_processor(WORLDS["miniature"]), None).item == 5


def test_the_processor_of_the_run_takes_precedence_over_the_constants(root):
    """Here it is the miniature's, which has no labels of COCO; the labels are those of the training file."""
    config = load(root, "paper")
    assert answer_size(config, None, None) is ON_COCO
    processor = make_processor(WORLDS["miniature"])
    known = WORLDS["miniature"].plain.categories[0]
    rows = [{"objects": [{"label": known}] * 3}]
    of_rows, of_none = (answer_size(config, processor, each) for each in (rows, None))
    tokens = ProcessorTokens(processor)
    answer = Templates.of(config["templates"]).answer([[158, 158, 474, 474]] * 3, [known] * 3)
    row = {"system": None, "prompt": "", "answer": answer}
    assert of_rows.tokens(3) == tokens.count([row])[0][1]
    assert of_none.item > of_rows.item


@pytest.mark.parametrize("name", ["paper", "upstream_2026"])
def test_checkpoints_are_counted_to_the_last_step(root, name):
    training = surveyed(root, name)["trainings"][-1]
    expected = {"paper": (1531, 500, 4), "upstream_2026": (100, 50, 2)}[name]
    assert (training["steps"], training["save_steps"], training["checkpoints"]) == expected
    assert training["checkpoint_bytes"] == 16 * surveyed(root, name)["model"]["parameters"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_preflight_finds_no_problem_in_a_shipped_configuration(root, name):
    assert surveyed(root, name)["problems"] == []


def test_zero2_must_fit_every_training():
    small, large = ({"speed": "assumed", "gpu_hours": 1.0, "memory_peak": size * GIB} for size in (40, 90))
    now = [{"gpu_hours": 2.0}, {"gpu_hours": 2.0}]
    assert _if_better([small, large], now, 80) is None
    assert _if_better([small | {"speed": "measured"}, large], now, 96) is None
    assert _if_better([small, large], now, 96) == {"gpu_hours": 2.0, "gpu_hours_now": 4.0, "memory_peak": 90 * GIB}


def test_what_the_configuration_leaves_out_is_trls_default(root):
    trl, config = GRPOConfig(output_dir="nowhere", use_cpu=True, bf16=False), load(root, "paper")
    share = round(trl.vllm_gpu_memory_utilization * 80 * GIB)
    assert vllm_of({}, 80) == Vllm(share, trl.vllm_enable_sleep_mode, trl.vllm_tensor_parallel_size)
    for section in ("sft", "grpo"):
        config[section].pop("save_steps", None)
    lengths = lengths_of(config, None)
    for each in training_batches(config, lambda _: 49_000, ["step_1"])[:2]:
        assert training_estimate(config, each, lengths, ON_COCO, None, "ddp")["save_steps"] == trl.save_steps


def test_the_longest_completion_is_rounded_as_the_training_does():
    lengths = Lengths(True, 1, 1, 1, 501, 1.0, 1.0, 501.0, (501,))
    assert completion_limit({"num_generations": 2, "completion_room": 1.05}, lengths) == 527  # 526.05
