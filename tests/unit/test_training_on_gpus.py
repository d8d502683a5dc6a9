"""The settings of trainings on GPUs, as far as they can be tested without one."""

from types import SimpleNamespace

import pytest
from trl import GRPOConfig

from vision_r1.data.worlds import WORLDS
from vision_r1.families import family
from vision_r1.files import UserError, read_json, write_json
from vision_r1.miniature.processor import make_processor
from vision_r1.processors import load_processor
from vision_r1.training.sampling import check_vllm, engine_folder, never_sampled, show_images_once


def test_forbidden_tokens_as_parameters_of_both_engines():
    assert never_sampled([3, 5], False, {}) == {"suppress_tokens": [3, 5]}
    assert never_sampled([3, 5], True, {}) == {"logit_bias": {3: -100.0, 5: -100.0}}
    assert never_sampled([3], False, {"suppress_tokens": [7], "top_h": 1}) == {"suppress_tokens": [7, 3], "top_h": 1}
    assert never_sampled([3], True, {"logit_bias": {"3": 1.0, "7": 2.0}}) == {"logit_bias": {3: -100.0, 7: 2.0}}


def test_missing_vllm_is_named():
    words = {"use_cpu": True, "bf16": False, "output_dir": "nowhere"}
    check_vllm(GRPOConfig(**words))
    with pytest.raises(UserError, match="--use_vllm: vLLM is not installed; pip install -r requirements-vllm.txt"):
        check_vllm(GRPOConfig(**words, use_vllm=True))


def test_processes_that_share_vllms_weights_are_grouped(monkeypatch):
    monkeypatch.setattr("vision_r1.training.sampling.find_spec", lambda name: name)
    config = SimpleNamespace(use_vllm=True, vllm_mode="colocate", vllm_tensor_parallel_size=4, world_size=8)
    check_vllm(config)
    config.world_size = 6
    with pytest.raises(UserError, match="--vllm_tensor_parallel_size 4: 6 processes can't be grouped"):
        check_vllm(config)
    config.vllm_mode = "server"  # a server has its own GPUs
    check_vllm(config)


def test_a_colocated_vllm_gets_one_token_per_image():
    """TRL's prompts already have one token per patch; vLLM would expand the first and keep the others."""
    asked = {}
    generation = SimpleNamespace(generate=lambda **given: asked.update(given) or "completions")
    show_images_once(generation, image_token=9)
    prompts = [[1, 2, 2, 9, 9, 9, 3, 9, 9, 4, 4], [5, 9, 5], [1, 1]]
    assert generation.generate(prompts=prompts, images=["a", "b", None], num_generations=1) == "completions"
    assert asked["prompts"] == [[1, 2, 2, 9, 3, 9, 4, 4], [5, 9, 5], [1, 1]]
    assert prompts[0] == [1, 2, 2, 9, 9, 9, 3, 9, 9, 4, 4] and asked["images"] == ["a", "b", None]


def test_the_engines_folder_has_the_weights_and_the_trainers_pixel_limits(tmp_path):
    qwen, initial, weights = family("qwen2_5_vl"), tmp_path / "init", tmp_path / "weights"
    make_processor(WORLDS["miniature"]).save_pretrained(initial)
    make_processor(WORLDS["miniature"]).save_pretrained(weights)
    (weights / "model.safetensors").write_bytes(b"weights")
    write_json(weights / "processor_config.json", {"processor_class": "another"})
    processor = load_processor(initial, qwen, min_pixels=784, max_pixels=3136)
    folder = engine_folder(weights, processor, tmp_path / "engine")
    assert (tmp_path / "engine/model.safetensors").read_bytes() == b"weights"
    size = read_json(tmp_path / "engine/preprocessor_config.json")["size"]
    assert (size["shortest_edge"], size["longest_edge"]) == (784, 3136)
    assert not (tmp_path / "engine/processor_config.json").exists()
    assert engine_folder(weights, processor, tmp_path / "engine") == folder, "a resumed training uses it again"


@pytest.mark.parametrize(("asked", "world", "here", "fine"), [(8, 8, 8, True), (16, 16, 8, True), (8, 16, 8, False)])
def test_gpus_are_counted_over_all_machines(monkeypatch, asked, world, here, fine):
    from vision_r1.training.stage import check_gpus

    monkeypatch.setattr("torch.cuda.device_count", lambda: here)
    monkeypatch.setenv("WORLD_SIZE", str(world))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    if fine:
        check_gpus(asked, use_cpu=False)
    else:
        with pytest.raises(UserError, match="--gpus 4: 8 are visible"):
            check_gpus(asked, use_cpu=False)
