"""Boxes and labels on images."""

import numpy as np
import pytest
from PIL import Image

from vision_r1.report.drawing import SIDE, Objects, draw_boxes

COLOURS = {"cat": "#0072b2"}


def drawn(boxes, labels):
    objects = Objects(np.asarray(boxes, float).reshape(-1, 4), labels)
    return np.asarray(draw_boxes(Image.new("RGB", (360, 360), "white"), objects, COLOURS, SIDE))


@pytest.mark.parametrize(("one", "other"), [("é", "ü"), ("ж", "щ"), ("λ", "ω"), ("قطة", "سيارة"), ("רגל", "כלב")])
def test_letters_of_other_alphabets_are_drawn(one, other):
    """A font without them draws the same empty box for each."""
    box = [[20, 20, 340, 340]]
    assert (drawn(box, [one]) != drawn(box, [other])).any()


def test_no_box_is_drawn_over_a_label():
    label = (slice(23, 33), slice(24, 44))  # rows and columns that lie in the first label
    alone = drawn([[20, 20, 340, 340]], ["cat"])
    crossed = drawn([[20, 20, 340, 340], [2, 2, 35, 340]], ["cat", "cat"])
    assert (alone[label] == crossed[label]).all()
