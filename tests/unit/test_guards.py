import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from vision_r1.files import UserError
from vision_r1.training.guards import Guards, StopAtBrokenGradients, StopWhenStalled, TrainingBroken, cause

GOOD = {
    **{"loss": 0.1, "grad_norm": 1.0, "frac_reward_zero_std": 0.2, "kl": 0.05, "repeated_completions": 0.1},
    **{
        "completions/clipped_ratio": 0.1,
        "completions/mean_length": 20.0,
        "num_predictions": 3.0,
        "num_duplicates": 0.3,
    },
}
GUARDS = Guards(
    **{"guard_patience": 3, "guard_dead_groups": 1.0, "guard_truncated": 0.9, "guard_length_growth": 4.0},
    **{"guard_repeated_completions": 0.9, "guard_repeated_boxes": 0.8, "guard_kl": 2.0},
)
BAD = [
    ("dead_groups 1", {"frac_reward_zero_std": 1.0}),
    ("truncated 0.95", {"completions/clipped_ratio": 0.95}),
    ("length_growth 5", {"completions/mean_length": 100.0}),
    ("repeated_completions 0.9", {"repeated_completions": 0.9}),
    ("repeated_boxes 0.9", {"num_duplicates": 2.7}),
    ("kl 2.5", {"kl": 2.5}),
]


@pytest.mark.parametrize(("message", "change"), BAD)
def test_a_bound_reached_three_times_in_a_row(message, change):
    bad = GOOD | change
    assert cause([GOOD, GOOD, GOOD, GOOD], GUARDS) is None
    assert cause([GOOD, bad, bad, GOOD, bad, bad], GUARDS) is None
    found = cause([GOOD, bad, bad, bad], GUARDS)
    assert found.startswith(f"{message}, at 3 logs in a row at least")


@pytest.mark.parametrize(("message", "change"), BAD)
def test_a_guard_that_is_off_does_nothing(message, change):
    assert cause([GOOD, *3 * [GOOD | change]], Guards(guard_patience=3)) is None


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_single_non_finite_number_is_enough(name, value):
    assert cause([GOOD, GOOD | {name: value}], Guards()) == f"{name} is {value}"


def test_guards_of_grpo_ignore_sft_logs():
    assert cause(4 * [{"loss": 0.1, "grad_norm": 1.0}], GUARDS) is None


def test_patience_is_at_least_one():
    with pytest.raises(UserError, match="--guard_patience 0"):
        Guards(guard_patience=0)


def test_answers_without_boxes_repeat_none():
    assert cause(4 * [GOOD | {"num_predictions": 0.0, "num_duplicates": 0.0}], GUARDS) is None


def test_a_patience_of_one():
    assert cause([{"loss": 1.0}, {"loss": 1.0, "kl": 2.5}], Guards(guard_patience=1, guard_kl=2.0)).startswith("kl 2.5")


@pytest.mark.parametrize("fp16", [True, False])
def test_gradients_that_are_not_finite_stop_the_training_unless_they_are_scaled(fp16):
    model = torch.nn.Linear(2, 2)
    args, state = SimpleNamespace(fp16=fp16, output_dir="state"), SimpleNamespace(global_step=4)
    check = StopAtBrokenGradients().on_pre_optimizer_step
    check(args, state, None, model=model)
    model.weight.grad = torch.ones(2, 2)  # the bias has none
    check(args, state, None, model=model)
    model.weight.grad[0, 0] = torch.nan
    with nullcontext() if fp16 else pytest.raises(TrainingBroken, match="step 5: gradients are not finite"):
        check(args, state, None, model=model)


def test_each_sign_of_life_winds_the_watch_again():
    watch, state = StopWhenStalled(1.5), SimpleNamespace(global_step=3)
    try:
        for sign in (watch.on_train_begin, watch.on_step_end, watch.on_log, watch.on_save):
            before = watch.timer
            sign(None, state, None)
            assert watch.timer is not before and watch.timer.is_alive() and watch.timer.daemon
            assert watch.timer.interval == 90 and (before is None or before.finished.is_set())
    finally:
        watch.stop()
    assert watch.timer.finished.is_set()
