import numpy as np
import pytest
from PIL import Image

from vision_r1.data.image_index import IndexedImage, check_all_indexed, index_images, read_index
from vision_r1.data.leakage import find_leaks, read_leaks, refused_images
from vision_r1.data.scenes import draw_scenes
from vision_r1.data.worlds import WORLDS
from vision_r1.files import UserError, write_json, write_jsonl


def index(role, paths, cache, id_space=None, ids=None):
    facts = index_images(list(map(str, paths)), cache, workers=1)
    return [
        IndexedImage(role, f"{role}_set", number, id_space, str(path), **vars(found))
        for path, found, number in zip(paths, facts, ids or range(len(paths)), strict=True)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def scenes(folder):
    """400 test scenes, 40 of each shift, and 800 training scenes, none a copy of another."""
    benchmark = [
        scene
        for seed, style in enumerate(WORLDS["miniature"].styles.values())
        for scene in draw_scenes(style, 40, seed)
    ]
    benchmark += draw_scenes(WORLDS["miniature"].plain, 400, 9000)
    train = draw_scenes(WORLDS["miniature"].plain, 800, 5000)
    paths = []
    for number, (role, scene) in enumerate(
        [("benchmark", scene) for scene in benchmark] + [("train", s) for s in train]
    ):
        paths.append(folder / f"{role}{number}.png")
        Image.fromarray(scene.image).save(paths[-1])
    by_role = {role: [path for path in paths if path.name.startswith(role)] for role in ("train", "benchmark")}
    return {role: index(role, found, folder / "cache.sqlite") for role, found in by_role.items()}


def test_no_synthetic_scene_is_dropped_and_false_matches_of_hashes_are_counted(scenes):
    leaks, statistics = find_leaks(scenes["train"] + scenes["benchmark"])
    assert leaks == [] and statistics["leaks"] == {"same_id": 0, "same_file": 0, "same_pixels": 0}
    assert (statistics["train_images"], statistics["benchmark_images"]) == (800, 960)
    assert 0 < statistics["images_with_a_candidate"] == round(800 * statistics["false_positive_rate"]) < 400
    assert statistics["candidate_pairs"] >= statistics["images_with_a_candidate"]


@pytest.mark.parametrize(("quality", "scale"), [(95, 1), (75, 1), (30, 1), (75, 2)])
def test_planted_copies_are_found(scenes, folder, quality, scale):
    chosen = scenes["benchmark"][::60]
    copies = []
    for image in chosen:
        with Image.open(image.path) as original:
            copy = original.convert("RGB").resize((original.width * scale, original.height * scale))
        copies.append(folder / f"copy{image.image_id}_{quality}_{scale}.jpg")
        copy.save(copies[-1], quality=quality)
    leaks, statistics = find_leaks(index("train", copies, folder / "cache.sqlite") + scenes["benchmark"])
    assert {leak.path: leak.benchmark_path for leak in leaks} == {
        str(copy): image.path for copy, image in zip(copies, chosen, strict=True)
    }
    assert {leak.reason for leak in leaks} == {"same_pixels"} and statistics["false_positive_rate"] == 0


def test_a_copied_file_is_found_under_any_name(scenes, folder):
    copy = folder / "other name.png"
    copy.write_bytes(open(scenes["benchmark"][7].path, "rb").read())
    leaks, _ = find_leaks(index("train", [copy], folder / "cache.sqlite") + scenes["benchmark"])
    assert [(leak.path, leak.reason, leak.benchmark_path) for leak in leaks] == [
        (str(copy), "same_file", scenes["benchmark"][7].path)
    ]


def test_equal_ids_mean_the_same_image_only_within_an_id_space(scenes, folder):
    (image,) = index("train", [folder / "not there.jpg"], folder / "cache.sqlite", "coco", [139])
    (other,) = index("benchmark", [scenes["benchmark"][0].path], folder / "cache.sqlite", "coco", [139])
    leaks, _ = find_leaks([image, other])
    assert [(leak.reason, leak.dataset, leak.benchmark) for leak in leaks] == [
        ("same_id", "train_set", "benchmark_set")
    ]
    assert refused_images([image], leaks) == {image.path: "in_benchmark"}
    for space in (None, "lvis"):
        (foreign,) = index("benchmark", [other.path], folder / "cache.sqlite", space, [139])
        assert find_leaks([image, foreign])[0] == []


def test_uniform_images_are_compared_by_colour(folder):
    paths = []
    for name, grey in (("train", 40), ("benchmark", 40), ("benchmark", 140)):
        paths.append(folder / f"plain {name} {grey}.png")
        Image.fromarray(np.full((30, 30), grey, np.uint8)).save(paths[-1])
    lines = [index(path.name.split()[1], [path], folder / "cache.sqlite")[0] for path in paths]
    assert [leak.benchmark_path for leak in find_leaks(lines[:2])[0]] == [str(paths[1])]
    assert find_leaks([lines[0], lines[2]])[0] == []


def test_photographs(coco_tiny, tmp_path):
    test, train = (sorted((coco_tiny / name).iterdir()) for name in ("val2017", "train2017"))
    with Image.open(test[3]) as photograph:
        photograph.resize((photograph.width // 2, photograph.height // 2)).save(tmp_path / "copy.jpg", quality=70)
    lines = index("train", [*train, tmp_path / "copy.jpg"], tmp_path / "cache") + index(
        "benchmark", test, tmp_path / "cache"
    )
    leaks, statistics = find_leaks(lines)
    assert [(leak.path, leak.benchmark_path) for leak in leaks] == [(str(tmp_path / "copy.jpg"), str(test[3]))]
    assert statistics["false_positive_rate"] == 0


def test_nothing_to_compare_with():
    assert find_leaks([])[1]["false_positive_rate"] == 0


def test_reasons_by_path():
    images = [indexed("a"), indexed("b", "missing"), indexed("c", "unreadable: cut")]
    assert refused_images(images, []) == {"b": "missing", "c": "unreadable"}


def indexed(path, fault=None):
    return IndexedImage("train", "set", 1, None, path, "", 1, 1, 1, "", fault)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([vars(indexed("a")), {"role": "train"}], "line 2: not an entry of an image index .Object missing required"),
        (
            [vars(indexed("a")), {**vars(indexed("b")), "width": "9"}],
            "line 2: not an entry of an image index .Expected `int`, got `str`",
        ),
        ([[1]], "line 1: not an entry of an image index .Expected `object`"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path, lines, message):
    write_jsonl(tmp_path / "index.jsonl", lines)
    with pytest.raises(UserError, match=f"index.jsonl: {message}"):
        read_index(tmp_path / "index.jsonl")


@pytest.mark.parametrize("value", [[], {}, {"images": 1}, {"images": [{"path": "a"}]}])
def test_damaged_leaks_are_refused(tmp_path, value):
    write_json(tmp_path / "leaks.json", value)
    with pytest.raises(UserError, match="leaks.json: not a list of leaks .*; give what find_leaks.py wrote"):
        read_leaks(tmp_path / "leaks.json")


def test_images_missing_from_the_index_are_an_error():
    check_all_indexed("i.jsonl", [indexed("a")], ["a"])
    with pytest.raises(UserError, match="i.jsonl: 1 images are not in it, the first is b"):
        check_all_indexed("i.jsonl", [indexed("a")], ["a", "b"])


def test_files_that_are_missing_are_no_copies_and_hide_none(scenes, folder):
    copy = folder / "copy beside missing files.jpg"
    with Image.open(scenes["benchmark"][3].path) as original:
        original.convert("RGB").save(copy, quality=95)
    missing = [folder / "missing1.png", folder / "missing2.png"]
    train = index("train", [missing[0], copy], folder / "cache.sqlite")
    leaks, _ = find_leaks(train + index("benchmark", missing[1:], folder / "cache.sqlite") + scenes["benchmark"])
    assert [(leak.path, leak.benchmark_path) for leak in leaks] == [(str(copy), scenes["benchmark"][3].path)]
