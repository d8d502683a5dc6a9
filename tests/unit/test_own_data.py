"""The user's data: the split by seed, and limits derived from the data."""

from dataclasses import replace

import coco_factory
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1 import configuration
from vision_r1.files import UserError
from vision_r1.own.data import form_of, numbers, read_part, split
from vision_r1.own.limits import answer_counter, limits_of


@pytest.fixture(scope="module")
def config(root):
    return configuration.load([root / file for file in (*configuration.DEFAULT, "config/paper.yaml")])


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Twelve images: the fourth has six circles, the last none, and the others one circle each."""
    folder = tmp_path_factory.mktemp("own")
    boxes = {number: [(1, [8, 8, 20, 20])] for number in range(1, 12)} | {12: []}
    boxes[4] = [(1, [8 * index, 8, 6, 6]) for index in range(6)]
    coco_factory.write(folder, coco_factory.content(boxes, ["circle", "square"], size=(64, 48)))
    return read_part("own", "coco", folder / "annotations.json", folder / "images")


def names(images):
    return {image.path for image in images}


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_a_split_takes_each_image_once(part, seed, share):
    train, test = split(part, share, seed)
    assert names(train) | names(test) == names(part.coco.images) and not names(train) & names(test)
    assert len(test) == round(share * 12) and split(part, share, seed) == (train, test)


def test_seeds_split_differently(part):
    assert len({frozenset(names(split(part, 0.25, seed)[1])) for seed in range(5)}) > 1


def test_an_additional_image_moves_at_most_one_other(part):
    fewer = replace(part, coco=replace(part.coco, images=part.coco.images[:-1]))
    before, after = (names(split(each, 0.25, 0)[1]) for each in (fewer, part))
    assert len(before - after) <= 1


def test_too_few_images_to_split(part):
    with pytest.raises(UserError, match="12 images can't be split with --test_share 0.01"):
        split(part, 0.01, 0)


def test_numbers(part):
    found = numbers(part)
    assert (found["images"], found["labelled"], found["boxes"], found["pixels"]) == (12, 11, 16, 64 * 48)
    assert found["objects"] == [1] * 10 + [6] and found["categories"] == ["circle", "square"]
    assert found["without_category"] == 12  # no image has a square


def test_answers_bound_instances_and_completions(part, config):
    tokens = answer_counter(config, None)
    assert tokens(["circle"]) == 40 and tokens(["circle"] * 6) == 205
    assert tokens(["a label of many more letters"]) == 40 + 28 - len("traffic light")
    wide = limits_of(config, part, numbers(part), tokens, 1024)
    assert (wide.longest, wide.answer, wide.completion, wide.instances, wide.over) == (205, 205, 320, 6, 0)
    narrow = limits_of(config, part, numbers(part), tokens, 100)
    assert (narrow.longest, narrow.answer, narrow.completion, narrow.instances, narrow.over) == (205, 100, 100, 1, 1)


def test_an_answer_of_one_object_always_fits(part, config):
    limits = limits_of(config, part, numbers(part), answer_counter(config, None), 20)
    assert limits.answer == limits.completion == 40 and limits.instances == 1


def test_pixel_limits_are_those_of_the_images_within_the_models(part, config):
    found, tokens = numbers(part), answer_counter(config, None)
    limits = limits_of(config, part, found, tokens, 1024)
    assert found["pixels"] <= limits.pixels < 401408 and limits.pixels % 784 == 0
    assert limits_of(config, part, {**found, "pixels": 10**8}, tokens, 1024).pixels == 401408


def test_steps_follow_the_samples(part, config):
    found, tokens = numbers(part), answer_counter(config, None)
    large = limits_of(config, part, {**found, "images": 8000, "labelled": 8000}, tokens, 1024)
    # 8 GPUs x 4 x 2 completions, 4 per prompt: 16 prompts per step, in each of two stages.
    assert large.positive == 7760
    assert large.grpo_steps == 1457 and large.sft_steps == 365
    assert limits_of(config, part, found, tokens, 1024).grpo_steps == 50


@pytest.mark.parametrize(("name", "form"), [("a.json", "coco"), ("a.csv", "csv"), ("data.yaml", "yolo"), ("a", "voc")])
def test_formats_are_recognised_by_name(tmp_path, name, form):
    path = tmp_path / name
    path.touch() if "." in name else path.mkdir()
    assert form_of(path) == form


def test_a_name_that_suggests_no_format(tmp_path):
    (tmp_path / "labels.parquet").touch()
    with pytest.raises(UserError, match="give --format"):
        form_of(tmp_path / "labels.parquet")
