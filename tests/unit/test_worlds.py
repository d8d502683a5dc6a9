import numpy as np
import pytest

from vision_r1.data.scenes import OUTLINES, Style, draw_scenes
from vision_r1.data.worlds import SHIFTS, WORLDS
from vision_r1.families import family

MINIATURE = WORLDS["miniature"].styles


def test_every_world_has_plain_scenes_and_thirteen_shifts():
    assert len(SHIFTS) == 14 and MINIATURE["none"] == Style()
    assert all(tuple(world.styles) == SHIFTS for world in WORLDS.values())


def test_the_midi_world_has_more_categories_objects_and_pixels():
    world = WORLDS["midi"]
    assert len(world.plain.categories) == len(OUTLINES) >= 20
    scenes = list(draw_scenes(world.plain, 40, seed=1))
    assert {scene.image.shape for scene in scenes} == {(336, 336, 3)}
    assert 1 <= min(len(scene.objects) for scene in scenes) and max(len(scene.objects) for scene in scenes) == 20
    assert {item["label"] for scene in scenes for item in scene.objects} == set(OUTLINES)


def test_apples_have_the_colours_of_their_variety_and_one_shape():
    red, brown = (250, 0, 0), (90, 60, 30)
    palette = {"fresh": (red,), "rotten": (brown,)}
    style = Style(categories=tuple(palette), shape="circle", objects=(1, 1), palette=palette)
    for scene in draw_scenes(style, 20, seed=2):
        for item in scene.objects:
            x1, y1, x2, y2 = map(int, item["bbox"])
            middle = tuple(scene.image[(y1 + y2) // 2, (x1 + x2) // 2].tolist())
            assert middle == {"fresh": red, "rotten": brown}[item["label"]]
            assert not np.array_equal(scene.image[y1, x1], middle)  # a disc leaves the corner free


def test_apples_have_different_backgrounds():
    scenes = list(draw_scenes(WORLDS["apples"].plain, 30, seed=2))
    assert {item["label"] for scene in scenes for item in scene.objects} == {"fresh_apple", "rotten_apple"}
    grounds = [np.median(scene.image.reshape(-1, 3), 0).mean() for scene in scenes]
    assert min(grounds) < 60 and max(grounds) > 230


def test_a_worlds_images_fit_the_model_and_their_coordinates_the_tokenizer():
    for world in WORLDS.values():
        for style in world.styles.values():
            height, width = next(draw_scenes(style, 1, seed=0)).image.shape[:2]
            seen = family("qwen2_5_vl").input_size(width, height, 784, world.max_pixels)
            assert max(seen) <= world.largest_number
        plain = next(draw_scenes(world.plain, 1, seed=0)).image.shape[:2]
        assert family("qwen2_5_vl").input_size(*plain, 784, world.max_pixels) == plain


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("world", WORLDS)
def test_each_shift_gives_valid_scenes_and_repeats(world, shift):
    style = WORLDS[world].styles[shift]
    scenes = list(draw_scenes(style, 8, seed=4))
    again = list(draw_scenes(style, 8, seed=4))
    for scene, same in zip(scenes, again, strict=True):
        height, width, channels = scene.image.shape
        assert channels == 3 and scene.image.dtype == np.uint8
        assert np.array_equal(scene.image, same.image) and scene.objects == same.objects
        assert scene.objects
        for item in scene.objects:
            x1, y1, x2, y2 = item["bbox"]
            assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


@pytest.mark.parametrize("name", ["thermal", "blur", "noise", "dark", "texture", "outline", "colours"])
def test_a_shift_of_looks_changes_the_pixels(name):
    plain = next(draw_scenes(MINIATURE["none"], 1, seed=9)).image
    assert not np.array_equal(plain, next(draw_scenes(MINIATURE[name], 1, seed=9)).image)


def test_shifts_of_size_and_number_are_as_named():
    def sides(name):
        return [b[2] - b[0] for s in draw_scenes(MINIATURE[name], 50, 4) for b in (o["bbox"] for o in s.objects)]

    assert max(sides("tiny")) < min(sides("none"))
    assert min(len(scene.objects) for scene in draw_scenes(MINIATURE["crowd"], 50, 4)) >= 4
    shapes = {scene.image.shape[:2] for scene in draw_scenes(MINIATURE["wide"], 5, 4)}
    assert shapes == {(112, 168)}
    assert all(168 <= scene.image.shape[0] <= 252 for scene in draw_scenes(MINIATURE["large"], 20, 4))
