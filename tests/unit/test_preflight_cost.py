"""The preflight's hours, counted by hand on a toy model."""

from dataclasses import replace

import pytest
from preflight_toys import GRPO, SETTING, SFT, TOY, setting

from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.cost import ZERO3_LAYER_SECONDS, Speed, gpu_hours, seconds_per_sample, seconds_per_step
from vision_r1.preflight.memory import kv_cache


def test_hours_by_hand():
    speed = Speed(operations=1e3, bytes=1e3)
    no_vision = Architecture(**{**TOY.__dict__, "vision_parameters": 0})
    # 2 operations x 1000 weights x 10 tokens, once forward and twice that backward, for 2 x 3 samples per GPU.
    assert seconds_per_step(no_vision, SFT, SETTING, (8, 2), speed) == (0.0, 3 * 20_000 * 6 / 1e3)
    again = setting(gradient_checkpointing=True, reference=True)
    assert seconds_per_step(no_vision, SFT, again, (8, 2), speed)[1] == 5 * 20_000 * 6 / 1e3
    sampling, _ = seconds_per_step(no_vision, GRPO, SETTING, (8, 2), speed)
    # 3 generations per step of 2 tokens; each token reads all weights and the cache of 8 sequences of 9 tokens.
    assert sampling == pytest.approx(3 * 2 * (2000 + kv_cache(TOY, 8, 9)) / 1e3 + 20_000 * 24 / 1e3)
    assert gpu_hours(SFT, 3600) == 7 * 4


def test_completions_are_scored_once_for_all_their_updates():
    """TRL asks the reference and the sampling policy when it has generated, whatever num_iterations is."""
    once = Batches("strict/grpo_stage1", 7, 4, 4, 4, 100, group=4, micro_steps_per_generation=4)
    training = [
        seconds_per_step(TOY, replace(once, iterations=iterations), each, (8, 2), Speed(1e3, 1e3))[1]
        for each in (SETTING, setting(reference=True))
        for iterations in (1, 2)
    ]
    a_pass = training[0] / 3
    assert training == pytest.approx([3 * a_pass, 3.5 * a_pass, 4 * a_pass, 4 * a_pass])


def test_zero3s_hooks_take_time_in_every_layer_and_traversal():
    """5 layers in both towers; forward, backward, recomputation and, once for each of 3 generations, the reference."""
    settings = [setting(mode=mode, gradient_checkpointing=True, reference=True) for mode in ("zero2", "zero3")]
    zero2, zero3 = (seconds_per_step(TOY, GRPO, each, (8, 2), Speed(1e3, 1e3))[1] for each in settings)
    assert zero3 - zero2 == pytest.approx(6 * 4 * 5 * ZERO3_LAYER_SECONDS)


def test_copies_that_are_shared_are_read_once():
    """4 completions a pass, 2 of each prompt, of 8 and 2 tokens and 20 patches: 2 x 12 tokens are read, not 4 x 10."""
    alone = Batches("strict/grpo_stage1", 7, 4, 1, 1, 100, group=2)
    shared = replace(alone, share_copies=True)
    sampling, training = zip(
        *(seconds_per_step(TOY, batches, SETTING, (8, 2), Speed(1e3, 1e3)) for batches in (alone, shared)), strict=True
    )
    once = [2 * (800 * tokens + 200 * 20 * images) / 1e3 for tokens, images in ((40, 4), (24, 2))]
    assert list(training) == [3 * seconds for seconds in once]
    assert sampling[0] - sampling[1] == pytest.approx(once[0] - once[1])


def test_measured_speed_is_read_from_metrics(tmp_path):
    from vision_r1.files import UserError, write_json

    write_json(
        tmp_path / "metrics.json", {"stage": "grpo_stage1", "seconds": 100.0, "processes": 8, "samples_seen": 400}
    )
    assert seconds_per_sample([str(tmp_path / "metrics.json")]) == {"grpo": 2.0}
    write_json(tmp_path / "base.json", {"stage": "base"})
    with pytest.raises(UserError, match="base.json: has no stage, seconds"):
        seconds_per_sample([str(tmp_path / "base.json")])


def test_prediction_by_hand():
    from vision_r1.preflight.lengths import Lengths
    from vision_r1.preflight.prediction import Load, prediction_seconds

    lengths = Lengths(True, 1, image=5, text=3, answer=4, mean_image=5, mean_prompt=8, mean_answer=4)
    load = Load("coco", "released-one-prompt", prompts=5, image_tokens=25, max_new_tokens=9)
    # 800 text weights process 25 + 15 tokens, 200 vision weights 4 x 25 patches; 3 batches of 2 generate 4 tokens.
    reading = 2 * (800 * 40 + 200 * 4 * 25)
    writing = 3 * 4 * (2 * 800 + kv_cache(TOY, 2, 8 + 2))
    seconds = prediction_seconds(TOY, load, 2, lengths, Speed(operations=10.0, bytes=100.0), "vllm")
    assert seconds == pytest.approx(reading / 10 + writing / 100)
