import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1.families import FAMILIES, family
from vision_r1.files import UserError
from vision_r1.frames import FRAMES

MIN_PIXELS, MAX_PIXELS = 784, 401408


def test_frames_and_factors():
    assert (family("qwen2_5_vl").frame, family("qwen2_5_vl").factor) == ("pixel", 28)
    assert (family("qwen3_vl").frame, family("qwen3_vl").factor) == ("rel1000", 32)
    assert {known.frame for known in FAMILIES.values()} <= set(FRAMES)


def test_unknown_family_names_the_known_ones():
    with pytest.raises(UserError, match="--family: unknown 'llava'; choose qwen2_5_vl, qwen3_vl"):
        family("llava")


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("qwen2_5_vl", (84, 84), (84, 84)),
        ("qwen2_5_vl", (640, 480), (644, 476)),
        ("qwen2_5_vl", (480, 640), (476, 644)),
        ("qwen2_5_vl", (10, 10), (28, 28)),
        ("qwen3_vl", (640, 480), (640, 480)),
    ],
)
def test_input_size(name, size, expected):
    assert family(name).input_size(*size, MIN_PIXELS, MAX_PIXELS) == expected


@settings(deadline=None)
@given(st.sampled_from(sorted(FAMILIES)), st.integers(60, 3000), st.integers(60, 3000))
def test_input_size_is_whole_cells_within_the_limits(name, width, height):
    chosen = family(name)
    sides = chosen.input_size(width, height, 4 * chosen.factor**2, MAX_PIXELS)
    assert all(side % chosen.factor == 0 for side in sides)
    assert sides[0] * sides[1] <= MAX_PIXELS
    assert chosen.input_size(*sides, 4 * chosen.factor**2, MAX_PIXELS) == sides


def test_input_size_equals_the_processors():
    import numpy as np
    from transformers import Qwen2VLImageProcessorPil

    width, height = 301, 187
    processor = Qwen2VLImageProcessorPil(min_pixels=784, max_pixels=28 * 28 * 30)
    made = processor(images=[np.zeros((height, width, 3), np.uint8)], return_tensors="np")["image_grid_thw"][0]
    expected = family("qwen2_5_vl").input_size(width, height, 784, 28 * 28 * 30)
    assert (made[2] * 14, made[1] * 14) == expected
