import shutil
import signal

import numpy as np
import pytest
from configurations import load
from train_grpo import main, parse_args
from training_helpers import arguments, check_outputs, interrupt_twice, largest_change, logged, weights_hash

from vision_r1.experiments import STAGE_THRESHOLDS, STAGES, experiment_config, reward_of
from vision_r1.files import SEAL, UserError, read_json, read_jsonl, write_json
from vision_r1.training.settings import differences, settings_of
from vision_r1.zoo import criterion_of

GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0},
    # One token: the untrained model often writes a bare number, which the released_2025 format reward accepts.
    **{"max_completion_length": 1, "criterion": "released_2025"},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}


@pytest.fixture(scope="module", params=[0.0, 0.04], ids=["beta0", "beta0.04"])
def beta(request):
    return request.param


@pytest.fixture(scope="module")
def trained(beta, tiny_checkpoint, train_file, tmp_path_factory):
    """Six steps without interruption: one and a half passes over the eight rows."""
    out = tmp_path_factory.mktemp("runs") / "grpo_stage1"
    kept = {"output_completions": out / "completions.jsonl", "sample_steps": 3, "sample_count": 5}
    main(arguments(tiny_checkpoint, train_file, out, **GRPO, beta=beta, **kept))
    return out


def test_trains_and_writes_its_outputs(trained, beta, tiny_checkpoint):
    check_outputs(trained, tiny_checkpoint, steps=6)
    history = [entry for entry in read_jsonl(trained / "history.jsonl") if "loss" in entry]
    assert any(entry["group_reward_std"] > 0 for entry in history)
    for name in ("dual_format", "recall", "precision"):
        assert f"rewards/{name}/mean" in history[0]
    assert ("kl" in history[0]) == (beta > 0)
    names = {"advantage_std", "entropy", "completions/mean_length", "verdicts/clean", "samples_per_second"}
    assert history[-1].keys() >= names | {"peak_rss_mb", "frac_reward_zero_std", "repeated_completions"}
    assert any(entry["advantage_std"] > 0 for entry in history)
    assert read_json(trained / "metrics.json")["samples_seen"] == 12


def test_some_completions_are_kept_with_their_rewards(trained):
    kept = read_jsonl(trained / "completions.jsonl")
    assert [row["step"] for row in kept] == 5 * [3] + 5 * [6]
    for row in kept:
        assert row.keys() == {"step", "prompt", "completion", "rewards", "advantage", "verdict", "source_id"}
        assert row["rewards"].keys() == {"dual_format", "recall", "precision"}
        assert row["prompt"].startswith("Locate every")
    same = [row for row in kept if row["step"] == 3]
    assert len({row["source_id"] for row in same}) == 2  # four completions of one prompt, one of the next


def test_the_logged_spread_is_that_of_groups_not_of_the_batch(trained):
    """The last step has four completions of each of two prompts; five of the completions are kept."""
    last = [entry for entry in read_jsonl(trained / "history.jsonl") if "loss" in entry][-1]
    kept = [row for row in read_jsonl(trained / "completions.jsonl") if row["step"] == 6]
    first_group = np.std([sum(row["rewards"].values()) for row in kept[:4]], ddof=1)
    assert 2 * last["group_reward_std"] >= first_group - 1e-6
    if last["frac_reward_zero_std"] == 1:
        assert last["group_reward_std"] == 0


@pytest.fixture
def with_settings(tiny_checkpoint, tmp_path):
    """A checkpoint whose generation_config.json would let other completions be sampled."""
    init = tmp_path / "init"
    shutil.copytree(tiny_checkpoint, init, ignore=shutil.ignore_patterns(SEAL))
    settings = read_json(init / "generation_config.json") | {"min_p": 1.0, "do_sample": True, "num_beams": 2}
    write_json(init / "generation_config.json", settings)
    return init


def test_a_checkpoints_own_sampling_settings_do_not_count_and_stay(
    trained, beta, with_settings, train_file, tmp_path, monkeypatch
):
    out = tmp_path / "grpo_stage1"
    words = arguments(with_settings, train_file, out, **GRPO, beta=beta)
    interrupt_twice(main, words, out / "state", monkeypatch)
    main(words)
    assert weights_hash(out / "model") == weights_hash(trained / "model")
    shipped, saved = (read_json(folder / "generation_config.json") for folder in (with_settings, out / "model"))
    assert saved["min_p"] == 1.0 and saved["eos_token_id"] == shipped["eos_token_id"]


def test_the_tracker_must_be_installed(tiny_checkpoint, train_file, tmp_path, monkeypatch):
    from vision_r1.training import recording

    monkeypatch.setattr(recording, "find_spec", lambda name: None)
    words = arguments(tiny_checkpoint, train_file, tmp_path, **GRPO, report_to="wandb")
    with pytest.raises(UserError, match="--report_to wandb: not installed .* pip install wandb, or none"):
        main(words)
    with pytest.raises(UserError, match="--report_to mlflow: unknown tracker; choose none, tensorboard"):
        main(arguments(tiny_checkpoint, train_file, tmp_path, **GRPO, report_to="mlflow"))


def test_interrupted_training_ends_with_the_same_weights(
    trained, beta, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    out = tmp_path / "grpo_stage1"
    words = arguments(tiny_checkpoint, train_file, out, **GRPO, beta=beta)
    interrupt_twice(main, words, out / "state", monkeypatch)
    main(words)
    check_outputs(out, tiny_checkpoint, steps=6)
    assert weights_hash(out / "model") == weights_hash(trained / "model")
    resumed, whole = logged(out), logged(trained)
    assert [list(row) for row in resumed] == [list(row) for row in whole]  # also the order of names
    assert resumed == whole


def test_reference_of_the_second_stage_can_be_the_arms_first_model(
    trained, beta, tiny_checkpoint, train_file, tmp_path
):
    if not beta:
        pytest.skip("no KL term, no reference")
    options = {**GRPO, "beta": 1.0, "max_steps": 1}
    main(arguments(trained / "model", train_file, tmp_path / "own", **options))
    main(arguments(trained / "model", train_file, tmp_path / "arm", **options, reference=tiny_checkpoint))
    kl = [read_json(tmp_path / name / "metrics.json")["final"]["kl"] for name in ("own", "arm")]
    assert kl[0] == pytest.approx(0, abs=1e-6) and kl[1] > 1e-4
    assert largest_change(tmp_path / "own/model", tmp_path / "arm/model") > 0


STAGE2 = {"recall_threshold": 0.75, "precision_low": 0.75, "precision_high": 0.9}


def chain(tiny_checkpoint, train_file, out, beta, switch):
    """Return the arguments of stage 1 up to step `switch` of 6, and of a stage 2 that resumes from there."""
    both = {**GRPO, "beta": beta, "reference": tiny_checkpoint}
    stage1 = {"stop_at": switch, "output_checkpoint": out / "stage1/checkpoint"}
    stage2 = {**STAGE2, "continue_from": out / "stage1/checkpoint"}
    return (
        arguments(tiny_checkpoint, train_file, out / "stage1", **both, **stage1),
        arguments(out / "stage1/model", train_file, out / "stage2", **{**both, **stage2}),
    )


@pytest.fixture
def switching_run(beta, tiny_checkpoint, train_file, tmp_path, monkeypatch):
    """Return a function that trains in one run whose thresholds rise at a given step, and returns its folder."""

    def run(switch):
        from dataclasses import replace

        import train_grpo

        from vision_r1.rewards import reward_functions

        def switching(criterion, parts):
            pairs = zip(reward_functions(criterion), reward_functions(replace(criterion, **STAGE2)), strict=True)

            def reward(first, second):
                def of(completions, trainer_state, **columns):
                    return (first if trainer_state.global_step < switch else second)(completions, **columns)

                of.__name__ = first.__name__
                return of

            return [reward(*pair) for pair in pairs]

        out = tmp_path / "one"
        with monkeypatch.context() as patch:
            patch.setattr(train_grpo, "reward_functions", switching)
            main(arguments(tiny_checkpoint, train_file, out, **GRPO, beta=beta, reference=tiny_checkpoint))
        return out

    return run


@pytest.mark.parametrize("switch", [3, 4])  # inside the first pass over the rows, and at its end
def test_continuous_refinement_is_one_run_with_a_switch(
    switch, switching_run, beta, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    one = switching_run(switch)
    stage1, stage2 = chain(tiny_checkpoint, train_file, tmp_path, beta, switch)
    main(stage1)
    names = sorted(path.name for path in (tmp_path / "stage1").glob("[!.]*"))
    assert names == ["checkpoint", "history.jsonl", "metrics.json", "model", "state"]
    assert weights_hash(tmp_path / "stage1/model") == weights_hash(tmp_path / "stage1/checkpoint")
    if switch == 3:
        interrupt_twice(main, stage2, tmp_path / "stage2/state", monkeypatch, first=5, number=signal.SIGUSR1)
    main(stage2)
    assert weights_hash(tmp_path / "stage2/model") == weights_hash(one / "model")

    assert logged(tmp_path / "stage1") + logged(tmp_path / "stage2") == logged(one)
    metrics = read_json(tmp_path / "stage2/metrics.json")
    assert (metrics["steps"], metrics["samples_seen"]) == (6 - switch, 2 * (6 - switch))


def test_a_stage_that_cannot_continue_gives_the_reason(tiny_checkpoint, train_file, tmp_path):
    stage1, stage2 = chain(tiny_checkpoint, train_file, tmp_path, 0.0, 2)
    main(stage1)
    with pytest.raises(UserError, match="other settings: learning_rate 0.001 -> 0.01; stages of one schedule"):
        main([*stage2, "--learning_rate", "0.01"])
    (tmp_path / "stage1/checkpoint/optimizer.pt").unlink()
    with pytest.raises(UserError, match="--continue_from .*: not a whole checkpoint"):
        main(stage2)


def test_image_tokens_are_never_sampled(tiny_checkpoint, train_file, tmp_path, monkeypatch):
    import trl

    forbidden = []
    original = trl.GRPOTrainer.__init__

    def spy(self, *args, **kwargs):
        forbidden.extend(kwargs["args"].generation_kwargs["suppress_tokens"])
        original(self, *args, **kwargs)

    monkeypatch.setattr(trl.GRPOTrainer, "__init__", spy)
    main(arguments(tiny_checkpoint, train_file, tmp_path / "grpo", **{**GRPO, "max_steps": 1}))
    image = read_json(tiny_checkpoint / "config.json")["image_token_id"]
    assert len(set(forbidden)) == 4 and image in forbidden


def test_the_address_of_a_vllm_server_is_not_a_setting_of_the_training(tiny_checkpoint, train_file, tmp_path):
    """So a training can resume after its server was restarted on another machine."""

    def settings(**options):
        parsed, *_, config = parse_args(arguments(tiny_checkpoint, train_file, tmp_path, **GRPO, **options))
        return settings_of(parsed, config, "train_grpo.py", {}) | {"code": ""}

    server = settings(vllm_mode="server", vllm_server_host="node7", vllm_server_port=8001, code=train_file)
    assert differences(settings(code=train_file), server) == ["vllm_mode 'colocate' -> 'server'"]


def test_criterion_flags(tiny_checkpoint, train_file, tmp_path):
    def criterion(**options):
        return parse_args(arguments(tiny_checkpoint, train_file, tmp_path, **{**GRPO, **options}))[2]

    released_2025 = criterion()
    assert (released_2025.quality, released_2025.denominator, released_2025.label_aware) == ("giou", "matched", False)
    assert (released_2025.recall_threshold, released_2025.precision_low, released_2025.precision_high) == (
        0.5,
        0.5,
        0.75,
    )
    assert released_2025.differentiate
    strict = criterion(criterion="strict", quality="giou", label_aware=False, differentiate=False)
    assert (strict.quality, strict.denominator, strict.label_aware) == ("giou", "predictions", False)
    assert not strict.differentiate


def test_the_audit_reads_a_criterion_as_the_training_does(root, tiny_checkpoint, train_file, tmp_path):
    """Every shipped experiment, and one with each type of value: a reward comes from its section, not from a name."""
    config, rewards = load(root, "paper"), []
    config["experiments"]["changed"] = {
        "reward": {"criterion": "paper", "label_aware": True, "quality": "giou", "inclusive": False},
        "grpo_stage2": {"precision_high": 0.8},
    }
    for name in config["experiments"]:
        merged = experiment_config(config, name)
        for stage in STAGES:
            values = reward_of(merged, merged[stage])
            rewards += [values] if values not in rewards else []
    assert len(rewards) > 14 and rewards[-1]["precision_high"] == 0.8
    for values in rewards:
        others = {key: value for key, value in GRPO.items() if key not in STAGE_THRESHOLDS}
        words = arguments(tiny_checkpoint, train_file, tmp_path, **{**others, **values})
        assert parse_args(words)[2] == criterion_of(values)


def test_another_methods_reward_is_trained_with_by_name(tiny_checkpoint, train_file, tmp_path):
    options = {key: value for key, value in GRPO.items() if key not in STAGE_THRESHOLDS} | {"max_completion_length": 8}
    main(arguments(tiny_checkpoint, train_file, tmp_path, **{**options, "criterion": "perception_r1", "max_steps": 1}))
    (logged,) = [entry for entry in read_jsonl(tmp_path / "history.jsonl") if "loss" in entry]
    parts = {name.split("/")[1] for name in logged if name.startswith("rewards/")}
    assert parts == {"format", "f1", "label", "iou"}
    assert logged.keys() >= {"verdicts/not_json", "num_predictions", "num_duplicates"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "lenient"}, "--criterion: unknown 'lenient'; choose paper, released_2025"),
        ({"recall_threshold": None}, "required: --recall_threshold"),
        ({"reward_weights": 0.5}, "--reward_weights: 1 given for 3 .dual_format, recall, precision.; give one"),
        ({"criterion": "rex_omni"}, "--recall_threshold"),
        ({"precision_low": 0.9}, "precision_low, precision_high"),
        ({"quality": "area"}, "quality: unknown 'area'; choose giou, iou"),
        ({"betta": 1}, "--betta"),
        ({"per_device_train_batch_size": 6}, "divisible by"),
        ({"per_device_train_batch_size": 64}, "8 rows, but one generation takes 16 prompts"),
        ({"num_iterations": 2, "save_steps": 3}, "--save_steps 3: .* every 2 steps"),
        ({"reference": "nowhere"}, "nowhere: no such folder"),
        ({"gpus": 2}, "--gpus 2 with --use_cpu True"),
        ({"gpus": 2, "use_cpu": False}, "--gpus 2: 0 are visible; fix the request"),
        ({"num_iterations": 2, "stop_at": 3}, "--stop_at 3: .* every 2 steps"),
        ({"stop_at": 7, "max_steps": 1}, "--stop_at 7: the schedule has 1 steps"),
        ({"stop_at": -1}, "--stop_at -1: give at least 1"),
        ({"threads": 0}, "--threads 0: give at least 1"),
        ({"num_iterations": 0}, "--num_iterations 0: give at least 1"),
        ({"gradient_accumulation_steps": 0}, "--gradient_accumulation_steps 0: give at least 1"),
        ({"min_pixels": 9000, "max_pixels": 784}, "--min_pixels 9000: larger than --max_pixels 784"),
        ({"save_steps": 0}, "--save_steps 0: an interrupted training would start afresh"),
        ({"push_to_hub": True}, "--push_to_hub: leave it out"),
        ({"optim": "adamw_bnb_8bit"}, "TRL: .*bitsandbytes"),
        ({"lr_scheduler_kwargs": '{"a": 1}'}, "TRL: .*unexpected keyword argument 'a'"),
        (
            {"generation_kwargs": '{"num_return_sequences": 2}'},
            "--generation_kwargs: 'num_return_sequences': each prompt",
        ),
        ({"generation_kwargs": '{"num_beams": 3}'}, "--generation_kwargs: 'num_beams': beams aren't samples"),
        (
            {"generation_kwargs": '{"guidance_scale": 1.5}'},
            "--generation_kwargs: 'guidance_scale': TRL's trainer",
        ),
        ({"neftune_noise_alpha": 5.0}, "--neftune_noise_alpha: copies of a prompt are read once"),
        ({"cast_lm_head_to_fp32": True}, "--cast_lm_head_to_fp32: .* has its embeddings as its output layer"),
        ({"use_liger_kernel": True}, "--use_liger_kernel: the package is missing; pip install liger-kernel"),
        (
            {"gradient_accumulation_steps": 2, "steps_per_generation": 3},
            "--steps_per_generation: .* last 3 micro-steps",
        ),
        ({"temperature": 0}, "--temperature 0.0: completions are sampled"),
        ({"sample_steps": 0}, "--sample_steps 0"),
        ({"completion_room": -1}, "--completion_room -1.0: must be a number above 0"),
        ({"max_completion_length": 0}, "--max_completion_length 0: must be a number above 0"),
        ({"generation_kwargs": '{"a": 1}'}, "--generation_kwargs: 'a' is not a setting"),
        ({"cache_implementation": "x"}, "--cache_implementation: unknown 'x'"),
    ],
)
def test_wrong_argument(options, message, tiny_checkpoint, train_file, tmp_path):
    with pytest.raises(UserError, match=message):
        main(arguments(tiny_checkpoint, train_file, tmp_path / "grpo", **{**GRPO, **options}))
