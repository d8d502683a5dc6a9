import json

import numpy as np
import pytest
from PIL import Image

from vision_r1.data.scenes import CATEGORIES, PALETTE, Style, draw_scene, draw_scenes, visible_box, write_scenes
from vision_r1.data.worlds import WORLDS
from vision_r1.files import UserError


def test_box_is_tight_and_excludes_the_far_edge():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    assert visible_box(mask) == [3, 2, 9, 5]
    assert visible_box(np.zeros((4, 4), bool)) is None


def test_plain_scenes_follow_the_style():
    for scene in draw_scenes(Style(), 200, seed=1):
        assert scene.image.shape == (84, 84, 3) and scene.image.dtype == np.uint8
        assert 1 <= len(scene.objects) <= 3
        boxes = [item["bbox"] for item in scene.objects]
        assert boxes == sorted(boxes, key=lambda box: box[:2])
        for item in scene.objects:
            x1, y1, x2, y2 = item["bbox"]
            assert item["label"] in CATEGORIES
            assert 0 <= x1 < x2 <= 84 and 0 <= y1 < y2 <= 84
            assert max(x2 - x1, y2 - y1) <= 40


def test_a_single_object_fills_its_box():
    alone = Style(objects=(1, 1))
    for scene in draw_scenes(alone, 100, seed=2):
        coloured = (scene.image[..., None, :] == np.array(PALETTE)).all(-1).any(-1)
        assert scene.objects[0]["bbox"] == visible_box(coloured)


def test_boxes_stay_tight_around_rotated_covered_outlined_or_scaled_objects():
    for name in ("rotation", "occlusion", "outline", "large", "wide"):
        for scene in draw_scenes(WORLDS["miniature"].styles[name], 50, seed=3):
            coloured = (scene.image[..., None, :] == np.array(PALETTE)).all(-1).any(-1)
            union = np.array([item["bbox"] for item in scene.objects])
            assert visible_box(coloured) == [*union[:, :2].min(0), *union[:, 2:].max(0)]


def test_the_same_seed_gives_the_same_scenes_and_more_scenes_begin_with_them():
    short, long = list(draw_scenes(Style(), 3, seed=5)), list(draw_scenes(Style(), 6, seed=5))
    for a, b in zip(short, long, strict=False):
        assert np.array_equal(a.image, b.image) and a.objects == b.objects
    other = draw_scene(Style(), np.random.default_rng(6))
    assert not np.array_equal(other.image, short[0].image)


def test_written_set_is_coco_and_repeats_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        write_scenes(Style(), 5, 7, tmp_path / name / "annotations.json", tmp_path / name / "images")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 6
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    coco = json.loads((tmp_path / "a" / "annotations.json").read_text())
    assert [item["name"] for item in coco["categories"]] == list(CATEGORIES)
    scenes = list(draw_scenes(Style(), 5, 7))
    for entry, scene in zip(coco["images"], scenes, strict=True):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "images" / entry["file_name"])), scene.image)
        found = [item for item in coco["annotations"] if item["image_id"] == entry["id"]]
        for item, wanted in zip(found, scene.objects, strict=True):
            x, y, width, height = item["bbox"]
            assert [x, y, x + width, y + height] == wanted["bbox"]
            assert item["area"] == width * height and item["iscrowd"] == 0


def test_pycocotools_reads_the_set(tmp_path):
    coco_module = pytest.importorskip("pycocotools.coco")
    write_scenes(Style(), 4, 8, tmp_path / "annotations.json", tmp_path / "images")
    assert len(coco_module.COCO(tmp_path / "annotations.json").getImgIds()) == 4


def test_a_folder_of_photographs_is_not_replaced_by_scenes(tmp_path):
    photo = tmp_path / "images/1.jpg"
    photo.parent.mkdir()
    photo.touch()
    (tmp_path / "train.json").touch()
    with pytest.raises(UserError, match="images: holds other files"):
        write_scenes(Style(), 2, 0, tmp_path / "train.json", tmp_path / "images")
    assert photo.exists()
