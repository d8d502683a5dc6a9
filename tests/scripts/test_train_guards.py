"""Each guard is triggered in a real training, which then ends with the cause, its last checkpoint and no output."""

import pytest
import train_grpo
import train_sft
from canned import canned_completions
from safetensors.torch import load_file
from training_helpers import arguments

from vision_r1.prompts import format_answer
from vision_r1.training.checkpoints import last_complete
from vision_r1.training.guards import TrainingBroken

GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0, "max_steps": 6},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75, "max_completion_length": 1},
    **{"guard_patience": 3, "save_steps": 2},
}


def stopped(main, words, out, match):
    """Run a training that a guard must stop; return the step of the remaining checkpoint."""
    with pytest.raises(TrainingBroken, match=match):
        main(words)
    assert [path.name for path in out.iterdir()] == ["state"]
    (state,) = (out / "state").iterdir()
    left = last_complete(state)
    return int(left.name.partition("-")[2]) if left else 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"criterion": "strict", "guard_dead_groups": 1.0}, "dead_groups 1, at 3 logs in a row"),
        ({"guard_truncated": 0.5}, "truncated .*guard_truncated"),
        ({"guard_length_growth": 1.0}, "length_growth 1, "),
        ({"guard_repeated_completions": 0.7, "temperature": 1e-3}, "repeated_completions 0.75"),
        ({"guard_kl": 1e-6, "beta": 0.1, "learning_rate": 0.03, "max_steps": 8}, "kl .*guard_kl"),
    ],
)
def test_grpo(options, match, tiny_checkpoint, train_file, tmp_path):
    words = arguments(tiny_checkpoint, train_file, tmp_path, **{**GRPO, **options})
    assert stopped(train_grpo.main, words, tmp_path, match) >= 2


def test_duplicate_boxes(tiny_checkpoint, train_file, tmp_path):
    def parrot(prompt_ids, copy):
        return format_answer(5 * [[10, 10, 20, 20 + copy]], 5 * ["circle"])

    words = arguments(tiny_checkpoint, train_file, tmp_path, **GRPO, guard_repeated_boxes=0.8)
    with canned_completions(parrot):
        assert stopped(train_grpo.main, words, tmp_path, "repeated_boxes 0.8") == 2


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_saved(tiny_checkpoint, train_file, tmp_path):
    options = {"learning_rate": 1e30, "warmup_steps": 3, "lr_scheduler_type": "constant_with_warmup"}
    often = {"save_steps": 1, "logging_steps": 5}
    words = arguments(tiny_checkpoint, train_file, tmp_path, per_device_train_batch_size=2, **options, **often)
    left = stopped(train_sft.main, words, tmp_path, "training stopped at step 3: gradients are not finite")
    (state,) = (tmp_path / "state").iterdir()
    weights = load_file(state / f"checkpoint-{left}/model.safetensors")
    assert left == 2 and all(weight.isfinite().all() for weight in weights.values())


def test_a_process_that_hangs_ends_itself(processes, tiny_checkpoint, train_file, tmp_path):
    words = arguments(tiny_checkpoint, train_file, tmp_path, **GRPO, guard_stalled_minutes=0.03)
    run = processes.start("hang_in_a_reward", words)
    assert run.wait(60) == 1
    assert "training stopped: no step in 0.03 minutes after step 0 (guard_stalled_minutes)" in run.output()
    assert "hang_in_a_reward" in run.output()  # the stack shows where it hangs
