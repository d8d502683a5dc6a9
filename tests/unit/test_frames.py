"""Coordinate frames: both ways, by property; declared, never guessed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vision_r1.frames import FRAMES, Frame

SIZES = st.integers(1, 5000)
FRAME = st.builds(Frame, st.sampled_from(FRAMES), SIZES, SIZES, SIZES, SIZES)
SHARES = arrays(np.float64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.floats(0, 1))


@settings(deadline=None)
@given(FRAME, SHARES)
def test_integer_coordinates_survive_the_round_trip_within_half_a_unit(frame, shares):
    unit_x, unit_y = (1000, 1000) if frame.kind == "rel1000" else (frame.input_width, frame.input_height)
    boxes = shares * [frame.width, frame.height, frame.width, frame.height]
    there = np.round(frame.from_original(boxes))
    back = frame.to_original(there)
    half = 0.5 * np.array([frame.width / unit_x, frame.height / unit_y] * 2)
    assert np.all(np.abs(back - boxes) <= half * (1 + 1e-9))
    assert np.array_equal(np.round(frame.from_original(back)), there)


def test_pixel_and_relative_frames_differ():
    box = np.array([[10, 20, 30, 40]])
    assert Frame("pixel", 100, 200, 50, 400).to_original(box).tolist() == [[20, 10, 60, 20]]
    assert Frame("rel1000", 100, 200, 50, 400).to_original(box).tolist() == [[1, 4, 3, 8]]


def test_boxes_of_an_image_that_was_not_resized_stay_exactly_the_same():
    boxes = np.arange(4000.0).reshape(-1, 4)
    assert (Frame("pixel", 560, 420, 560, 420).to_original(boxes) == boxes).all()


def test_single_precision_stays_single():
    frame = Frame("pixel", 100, 200, 28, 56)
    assert frame.to_original(np.ones((1, 4), np.float32)).dtype == np.float32
    assert frame.from_original(np.ones((1, 4), int)).dtype == np.float64


def test_a_frame_is_declared():
    row = {"frame": "pixel", "width": 4, "height": 3, "input_width": 28, "input_height": 56}
    assert Frame.of(row) == Frame("pixel", 4, 3, 28, 56)
    with pytest.raises(KeyError, match="frame"):
        Frame.of({key: value for key, value in row.items() if key != "frame"})
    with pytest.raises(ValueError, match="rel1"):
        Frame.of(row | {"frame": "rel1"})


@pytest.mark.parametrize("size", [0, -3, float("nan"), float("inf"), None, "640", True])
def test_sizes_are_positive_numbers(size):
    with pytest.raises(ValueError, match="input_height"):
        Frame("pixel", 4, 3, 28, size)
