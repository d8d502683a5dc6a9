import numpy as np
import pytest

from vision_r1.data.scenes import Style, draw_scenes
from vision_r1.data.shifts import SHIFTS


def test_thirteen_shifts_beside_the_plain_scenes():
    assert len(SHIFTS) == 14 and SHIFTS["none"] == Style()


@pytest.mark.parametrize("name", SHIFTS)
def test_each_shift_gives_valid_scenes_and_repeats(name):
    scenes = list(draw_scenes(SHIFTS[name], 20, seed=4))
    again = list(draw_scenes(SHIFTS[name], 20, seed=4))
    for scene, same in zip(scenes, again, strict=True):
        height, width, channels = scene.image.shape
        assert channels == 3 and scene.image.dtype == np.uint8
        assert np.array_equal(scene.image, same.image) and scene.objects == same.objects
        assert scene.objects
        for item in scene.objects:
            x1, y1, x2, y2 = item["bbox"]
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


@pytest.mark.parametrize("name", ["thermal", "blur", "noise", "dark", "texture", "outline", "colours"])
def test_a_change_of_looks_changes_the_pixels(name):
    plain = next(draw_scenes(SHIFTS["none"], 1, seed=9)).image
    assert not np.array_equal(plain, next(draw_scenes(SHIFTS[name], 1, seed=9)).image)


def test_sizes_and_numbers_are_what_the_names_say():
    def sides(name):
        return [b[2] - b[0] for s in draw_scenes(SHIFTS[name], 50, 4) for b in (o["bbox"] for o in s.objects)]

    assert max(sides("tiny")) < min(sides("none"))
    assert min(len(scene.objects) for scene in draw_scenes(SHIFTS["crowd"], 50, 4)) >= 4
    shapes = {scene.image.shape[:2] for scene in draw_scenes(SHIFTS["wide"], 5, 4)}
    assert shapes == {(112, 168)}
    assert all(168 <= scene.image.shape[0] <= 252 for scene in draw_scenes(SHIFTS["large"], 20, 4))
