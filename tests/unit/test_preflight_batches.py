"""Batch arithmetic, lengths, launch modes and fairness, from the configuration."""

import copy
from dataclasses import asdict
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from accelerate.data_loader import BatchSamplerShard
from configurations import CONFIGURATIONS, load
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer

from vision_r1.data.mixture import samples_asked_for
from vision_r1.experiments import STAGES, experiment_config, training_values
from vision_r1.files import UserError, write_json
from vision_r1.launcher.modes import mode_of, processes
from vision_r1.preflight.batches import Batches, budget, training_batches, unequal
from vision_r1.preflight.lengths import ON_COCO, TEXT_TOKENS, lengths_of
from vision_r1.preflight.pixels import check_checkpoints, evaluation_limits


@pytest.fixture
def paper(root):
    return load(root, "paper")


def batches_of(config, rows=49_000):
    return training_batches(config, lambda _: rows, config["report"]["experiments"])


def test_the_papers_batches(paper):
    batches = {training.name: training for training in batches_of(paper)}
    assert list(batches) == [
        "sft",
        *("step_1/grpo_stage1", "step_1/grpo_stage2", "step_1_2/grpo_stage2"),  # they share stage 1
    ]
    sft, stage1, stage2 = (batches[name] for name in ("sft", "step_1/grpo_stage1", "step_1/grpo_stage2"))
    assert (sft.batch, sft.steps) == (128, 383)  # 49,000 / 128, the last batch is not full
    assert (stage1.prompts, stage1.batch, stage1.sampled_at_once) == (16, 64, 8)
    assert stage1.samples_seen + stage2.samples_seen == 16 * (1531 + 1531) == 48_992
    assert stage1.in_words() == (
        "A step takes 16 prompts x 4 completions = 64 completions (4 per device x 2 accumulated x 8 processes). "
        "64 completions are sampled at once, 8 per device. "
        "1,531 steps see 24,496 samples of 49,000 rows (epochs: 0.5)."
    )
    assert sft.in_words().startswith(
        "A step takes 128 samples (4 per device x 4 accumulated x 8 processes). 383 steps see"
    )


@pytest.mark.parametrize("name", ["two_nodes", "qwen2_5_vl_3b", "lora_24gb", "lora_80gb", "released_2025"])
def test_other_machines_keep_the_papers_batches(root, paper, name):
    other = load(root, name)
    sizes = [{(training.prompts, training.batch) for training in batches_of(config)} for config in (paper, other)]
    assert sizes[0] == sizes[1]


# Budgets in which an experiment differs from the others, as explained in config/experiments.yaml.
OTHER_BUDGET = {"after_sft": {"steps", "prompts"}, "sft_matched": {"completions"}, "group_of_16": {"prompts"}}
SFT_BASELINES = {"sft_released_frame"}  # they have the budget of `sft`


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_experiments_have_equal_steps_prompts_and_completions(root, name):
    config = load(root, name)
    names = list(config["experiments"])
    batches = training_batches(config, lambda _: 49_000, names)
    budgets = {name: asdict(budget(config, batches, name)) for name in names}
    for experiment, own in budgets.items():
        if experiment in SFT_BASELINES:
            assert own == asdict(budget(config, batches, "sft"))
            continue
        differs = {key for key, value in budgets["released_2025"].items() if own[key] != value}
        assert differs == OTHER_BUDGET.get(experiment, set()), experiment
        assert samples_asked_for(experiment_config(config, experiment)) == samples_asked_for(config)


def test_the_released_sft_is_reported_as_unequal(paper):
    lines = unequal(paper, batches_of(paper))
    assert lines[0] == "step_1 makes 3,062 updates on 48,992 samples in all, sft 383 on 49,024"


def test_released_script_is_the_raw_reward_in_both_stages(root):
    from vision_r1.rewards import Criterion

    config = load(root, "released_2025")
    for stage in STAGES:
        values = training_values(config, f"released_script/{stage}")
        raw = Criterion.named("released_2025", "raw")
        keys = ("recall_threshold", "precision_low", "precision_high", "differentiate")
        assert {key: values[key] for key in keys} == {key: getattr(raw, key) for key in keys}
        assert (values["criterion"], values["shuffle_dataset"], values["top_k"]) == ("released_2025", True, 50)


def test_upstream_takes_64_prompts_of_8_completions(root):
    config = load(root, "upstream_2026")
    values = training_values(config, "strict/grpo_stage1")
    _, stage1, stage2, *_ = batches_of(config)
    assert (stage1.prompts, stage1.group, stage1.processes, stage1.steps + stage2.steps) == (64, 8, 8, 200)
    assert (values["learning_rate"], values["beta"], values["temperature"]) == (1.0e-6, 0.01, 1.0)
    assert (config["model"]["min_pixels"], config["model"]["max_pixels"]) == (262_144, 4_194_304)


def test_epochs_decide_the_length_of_one_schedule(paper):
    paper["grpo_stage2"]["max_steps"], paper["report"]["experiments"] = -1, ["step_1"]
    _, stage1, stage2, *_ = batches_of(paper)
    assert (stage1.steps, stage2.steps) == (1531, 3062 - 1531)  # 49,000 rows are 3,062 x 16, and 8 are left out
    paper["grpo"]["refinement"], paper["report"]["experiments"] = "restart", ["strict"]
    assert batches_of(paper)[2].steps == 3062


def steps_of(sampler, batch, processes, accumulation, epochs, drop_last=False):
    """Return the steps that the trainer makes of epochs, with these rows in batches of this size on each device."""
    batches = BatchSamplerShard(BatchSampler(sampler, batch, drop_last), num_processes=processes)
    args = SimpleNamespace(max_steps=-1, num_train_epochs=epochs, gradient_accumulation_steps=accumulation)
    trainer = Mock(get_sp_size=lambda: 1, num_examples=len)
    return Trainer.set_initial_training_values(trainer, args, batches)[-1]


@pytest.mark.parametrize("rows", [97, 127])
@pytest.mark.parametrize("epochs", [1, 2.5])
@pytest.mark.parametrize(("at_once", "iterations"), [(2, 1), (4, 1), (1, 1), (1, 2), (2, 3)])
def test_steps_of_epochs_are_the_trainers(paper, rows, epochs, at_once, iterations):
    """An epoch of GRPO leaves out the rows that fill no generation; one of SFT ends with a smaller step."""
    epoch_based = {"max_steps": -1, "num_train_epochs": epochs}
    paper["sft"] |= epoch_based
    paper["grpo"] |= {"steps_per_generation": at_once, "num_iterations": iterations, "refinement": "restart"}
    paper["grpo_stage1"] |= epoch_based
    sft, stage1, *_ = batches_of(paper, rows)
    size = stage1.per_device * at_once
    arguments = SimpleNamespace(generation_batch_size=size * 8, steps_per_generation=at_once, seed=0)
    trl = SimpleNamespace(args=arguments, num_generations=4, num_iterations=iterations, shuffle_dataset=False)
    sampler = GRPOTrainer._get_train_sampler(trl, range(rows))
    assert stage1.steps == steps_of(sampler, size, 8, stage1.accumulation, epochs)
    assert sft.steps == steps_of(SequentialSampler(range(rows)), sft.per_device, 8, sft.accumulation, epochs)


def test_rows_that_fill_no_batch_are_left_out_where_sft_says_so(paper):
    paper["sft"] |= {"max_steps": -1, "num_train_epochs": 1, "gradient_accumulation_steps": 1}
    for drop_last, steps in ((False, 7), (True, 6)):
        paper["sft"]["dataloader_drop_last"] = drop_last
        (sft, *_) = batches_of(paper, 200)
        assert sft.steps == steps_of(SequentialSampler(range(200)), sft.per_device, 8, 1, 1, drop_last) == steps
    with pytest.raises(UserError, match="sft: one batch takes 32 samples and the training file has 31 rows"):
        batches_of(paper, 31)


def test_too_few_rows_for_one_generation(paper):
    with pytest.raises(UserError, match="step_1/grpo_stage1: one generation takes 16 prompts .* has 15 rows"):
        batches_of(paper, 15)


def test_a_schedule_that_ends_before_stage_1_is_refused(paper):
    paper["grpo_stage1"]["max_steps"], paper["grpo_stage2"]["max_steps"] = 50_000, -1
    paper["report"]["experiments"] = ["step_1"]
    with pytest.raises(
        UserError, match=r"grpo_stage2: the whole schedule has \d+ steps and stage 1 ends at step 50000"
    ):
        batches_of(paper)


def test_epochs_without_max_steps_are_rounded_up():
    grpo = Batches("x", 3, 4, 1, 1, rows=10, group=2)
    assert (grpo.prompts, grpo.samples_seen, grpo.epochs) == (2, 6, 0.6)


def counted(prompt, image, answer):
    return {"prompt_tokens": prompt, "image_tokens": image, "answer_tokens": answer}


def test_lengths_are_taken_from_the_training_file(paper):
    lengths = lengths_of(paper, [counted(100, 40, 10), counted(90, 20, 30), counted(80, 30, 20)])
    assert (lengths.counted, lengths.rows, lengths.image, lengths.text, lengths.answer) == (True, 3, 40, 70, 30)
    assert (lengths.mean_image, lengths.mean_prompt, lengths.mean_answer) == (30, 90, 20)
    assert lengths.longer_than(20) == pytest.approx(1 / 3)


def test_without_counts_lengths_are_upper_bounds(paper):
    nothing = lengths_of(paper, None)
    assert (nothing.counted, nothing.rows) == (False, 49_000)
    assert (nothing.image, nothing.text) == (401_408 // 784, TEXT_TOKENS) and nothing.longer_than(1) == 0
    rows = [{"input_width": 56, "input_height": 84, "num_instances": 2}]
    old = lengths_of(paper, rows)
    assert (old.rows, old.image, old.answer) == (1, 6, ON_COCO.tokens(2))


@pytest.mark.parametrize(
    ("launch", "started"),
    [
        ("python", 1),
        ("accelerate launch --num_processes 16", 16),
        ("accelerate launch --multi_gpu --num-processes=16", 16),
        ("accelerate launch --config_file own.yaml", 6),
        ("accelerate launch --config_file bare.yaml", 1),
        ("accelerate launch --config_file own.yaml --num_processes 4", 4),
        ("torchrun --nproc_per_node 8", 16),
        ("python -m torch.distributed.run --nproc-per-node=8", 16),
    ],
)
def test_processes_as_each_launcher_counts_them(launch, started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 6\n")
    (tmp_path / "bare.yaml").write_text("distributed_type: 'NO'\n")
    assert processes({"compute": {"launch": launch.split(), "train_grpo": {"nodes": 2}}}, "train_grpo") == started


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num_processes"], "--num_processes.*expected one argument"),
        (["--nproc_per_node", "two"], "--nproc_per_node.*invalid int value: 'two'"),
        (["--config_file"], "--config_file.*expected one argument"),
        (["--config_file", "own.yaml"], "own.yaml: '8' is not a number of processes"),
        (["--num_processes", "0"], "0 is not a number of processes; give at least 1"),
        (["--num_processes", "-1"], "-1 is not a number of processes"),
    ],
)
def test_processes_that_cannot_be_counted(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("num_processes: '8'\n")
    with pytest.raises(UserError, match=f"config: compute.launch: .*{message}"):
        processes({"compute": {"launch": ["accelerate", "launch", *words]}}, "train_sft")


@pytest.mark.parametrize(
    ("launch", "processes", "mode"),
    [
        (["python"], 1, "single"),
        (["accelerate", "launch", "--num_processes", "2"], 2, "ddp"),
        *((["--config_file", f"config/accelerate/{mode}.yaml"], 8, mode) for mode in ("zero2", "zero3", "fsdp", "ddp")),
    ],
)
def test_launch_modes(root, monkeypatch, launch, processes, mode):
    monkeypatch.chdir(root)
    assert mode_of(launch, processes) == mode


def test_unusable_launch_files(tmp_path):
    with pytest.raises(UserError, match="compute.launch: --use_fsdp: .*give --config_file instead"):
        mode_of(["accelerate", "launch", "--use_fsdp", "--num_processes", "8"], 8)
    with pytest.raises(UserError, match="compute.launch: .*none.yaml: no such file"):
        mode_of(["--config_file", str(tmp_path / "none.yaml")], 8)
    for text, message in (
        ("a: [", "not valid YAML"),
        ("- a", "not a mapping"),
        ("distributed_type: XLA", "memory under distributed_type 'XLA'"),
        ("distributed_type: [1]", r"distributed_type \[1\] is not known to the preflight"),
        ("distributed_type: DEEPSPEED", "distributed_type 'DEEPSPEED' is not known"),
        ("{distributed_type: DEEPSPEED, deepspeed_config: [1]}", "distributed_type 'DEEPSPEED' is not known"),
        ("{distributed_type: DEEPSPEED, deepspeed_config: {zero_stage: 7}}", "distributed_type 'DEEPSPEED', zero7 is"),
    ):
        (tmp_path / "odd.yaml").write_text(text)
        with pytest.raises(UserError, match=f"odd.yaml: .*{message}"):
            mode_of(["--config_file", str(tmp_path / "odd.yaml")], 8)


@pytest.mark.parametrize("mode", ["zero2", "zero3", "fsdp", "ddp"])
def test_accelerate_accepts_the_shipped_files(root, mode):
    """They are read as by `accelerate launch`, which refuses unknown keys."""
    from accelerate.commands.config.config_args import ClusterConfig

    config = ClusterConfig.from_yaml_file(root / f"config/accelerate/{mode}.yaml")
    assert (config.mixed_precision, config.num_machines) == ("bf16", 1)


def test_checkpoints_of_different_pixel_limits_are_named(tmp_path):
    from vision_r1.families import family

    def trained(name, longest, file):
        size = {"size": {"shortest_edge": 784, "longest_edge": longest}}
        write_json(tmp_path / name / "metrics.json", {})
        write_json(tmp_path / name / "model/config.json", {"model_type": "qwen2_5_vl"})
        write_json(tmp_path / name / "model" / file, {"image_processor": size} if "preprocessor" not in file else size)

    qwen = family("qwen2_5_vl")
    trained("base", 12_845_056, "preprocessor_config.json")  # as it is on the hub
    assert check_checkpoints(tmp_path, qwen) is None
    trained("sft", 7056, "processor_config.json")
    trained("strict/grpo_stage1", 7056, "preprocessor_config.json")
    assert check_checkpoints(tmp_path, qwen) == (784, 7056)
    trained("strict/grpo_stage2", 3136, "processor_config.json")
    message = "arms differ: .*strict/grpo_stage2/model was trained with images of 784 to 3136 pixels, .*sft/model with"
    with pytest.raises(UserError, match=message):
        check_checkpoints(tmp_path, qwen)
    with pytest.raises(UserError, match="family 'qwen2_5_vl', not 'qwen3_vl'"):
        check_checkpoints(tmp_path, family("qwen3_vl"))


def test_other_pixel_limits_in_evaluation_are_reported_and_allowed(paper):
    assert len(evaluation_limits(paper)) == 3
    assert "784 to 10,035,200 pixels to every checkpoint" in evaluation_limits(paper)[0]
    alike = copy.deepcopy(paper)
    for protocol in alike["evaluation"]["protocols"].values():
        protocol |= {"min_pixels": 3136, "max_pixels": 401_408}
    assert evaluation_limits(alike) == []


def test_epochs_that_the_configuration_leaves_out_are_trls(paper):
    paper["sft"] |= {"max_steps": -1}
    paper["sft"].pop("num_train_epochs", None)
    trl = GRPOConfig(output_dir="nowhere", use_cpu=True, bf16=False)
    assert batches_of(paper)[0].steps == trl.num_train_epochs * 383
    paper["sft"]["max_steps"] = 1
    assert batches_of(paper)[0].steps == 1


def test_prompts_are_shared_unless_the_configuration_says_otherwise(paper):
    sft, stage1, *_ = batches_of(paper)
    assert (sft.share_copies, stage1.share_copies, stage1.prompts_at_once) == (False, True, 2)
    paper["grpo"]["share_copies"] = False
    assert batches_of(paper)[1].prompts_at_once == stage1.sampled_at_once


def test_a_prompt_limit_below_an_image_bounds_both(paper):
    paper["data"]["max_prompt_tokens"] = 400
    lengths = lengths_of(paper, None)
    assert (lengths.image, lengths.text) == (400, 0)
