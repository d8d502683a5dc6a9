"""Overlap of boxes: by hand, by property, against pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vision_r1.boxes import city_block, giou, iou


def boxes(size=100.0):
    corners = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(1, size))
    return corners.map(lambda a: np.concatenate([a[:, :2], a[:, :2] + a[:, 2:]], axis=1))


def test_by_hand():
    box = np.array([[0.0, 0, 2, 2]])
    others = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2], [4, 0, 6, 2], [0, 0, 1, 1]])
    assert iou(box, others) == pytest.approx(np.array([[1, 1 / 3, 0, 1 / 4]]))
    assert giou(box, others) == pytest.approx(np.array([[1, 1 / 3, -1 / 3, 1 / 4]]))
    assert city_block(box, others) == pytest.approx(np.array([[0, 2, 8, 2]]))


@settings(deadline=None)
@given(boxes(), boxes())
def test_iou_agrees_with_pycocotools(a, b):
    mask = pytest.importorskip("pycocotools.mask")

    def xywh(corners):
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)

    assert iou(a, b) == pytest.approx(mask.iou(xywh(a), xywh(b), [0] * len(b)), abs=1e-9)


@settings(deadline=None)
@given(boxes(), boxes())
def test_bounds_and_symmetry(a, b):
    assert np.all((iou(a, b) >= 0) & (iou(a, b) <= 1 + 1e-9))
    assert np.all((giou(a, b) > -1 - 1e-9) & (giou(a, b) <= iou(a, b) + 1e-9))
    assert giou(a, b) == pytest.approx(giou(b, a).T)
    assert np.diag(giou(a, a)) == pytest.approx(1)


def test_boxes_without_area_do_not_divide_by_zero():
    flat = np.array([[1.0, 1, 1, 1]])
    assert iou(flat, flat).item() == 0
    assert np.isfinite(giou(flat, flat)).all()


def test_no_boxes_and_single_precision():
    none = np.zeros((0, 4), np.float32)
    assert iou(none, none).shape == (0, 0)
    assert giou(np.ones((3, 4), np.float32), none).shape == (3, 0)
    assert giou(np.ones((3, 4), np.float32), np.ones((2, 4), np.float32)).dtype == np.float32
