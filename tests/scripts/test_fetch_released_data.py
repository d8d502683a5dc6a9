"""The authors' released set: embedded images become files, and the set's questions are reworded as ours."""

import json

import fetch_released_data
import find_leaks
import index_images
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from released_rows import GRIFFON, encoded, image, row, rows

from vision_r1.data.released import split_names
from vision_r1.data.scenes import draw_scenes
from vision_r1.data.sources import read_sources
from vision_r1.data.worlds import WORLDS
from vision_r1.files import UserError, read_json, read_jsonl


def save_parquet(table, folder):
    parquet.write_table(pyarrow.Table.from_pylist(table), folder / "train-0.parquet")


def save_arrow(table, folder):
    """Save the format that the authors' code reads: one Dataset for load_from_disk."""
    Dataset.from_list(table).save_to_disk(folder / "data", num_shards=2)
    (folder / "data/cache-1.arrow").write_bytes(b"not of the data set")


def save_arrow_file(table, folder):
    arrow = pyarrow.Table.from_pylist(table)
    with pyarrow.OSFile(str(folder / "0.arrow"), "wb") as sink, pyarrow.ipc.new_file(sink, arrow.schema) as writer:
        writer.write_table(arrow, max_chunksize=2)


def fetch(tmp_path, table=None, save=save_parquet, **options):
    folder = tmp_path / "given/data"
    folder.mkdir(parents=True, exist_ok=True)
    if table is not None:
        save(table, folder)
    values = {"repository": "owner/data", "folder": tmp_path / "given", "lock": tmp_path / "lock.json"}
    values |= {"output_images": tmp_path / "images", "output_samples": tmp_path / "samples.jsonl"} | options
    fetch_released_data.main([word for key, value in values.items() if value for word in (f"--{key}", str(value))])
    return read_jsonl(tmp_path / "samples.jsonl")


@pytest.mark.parametrize("save", [save_parquet, save_arrow, save_arrow_file])
@pytest.mark.parametrize("raw", [False, True])
def test_images_become_files_and_rows_become_questions(tmp_path, save, raw):
    table = [{**each, "image": each["image"]["bytes"]} if raw else each for each in rows()]
    lines = fetch(tmp_path, table, save)
    assert [(line["asked"], line["categories"]) for line in lines] == [
        ("detection", ["cup", "dog"]),
        ("grounding", ["dog"]),
        ("rec", ["man, on the left"]),
        ("detection", ["boat", "whale"]),
        ("grounding", ["dog"]),  # a category of the lists
        ("rec", ["man"]),
        ("grounding", ["man"]),  # several
    ]
    assert "prompt" not in lines[0]
    assert lines[0]["objects"] == [
        {"label": "cup", "bbox": [1, 2, 30, 40]},
        {"label": "dog", "bbox": [0, 0, 9, 9]},
        {"label": "dog", "bbox": [5, 5, 8, 8]},
    ]
    assert lines[1]["objects"] == [{"label": "dog", "bbox": [5, 5, 20, 20]}] and lines[3]["objects"] == []
    assert len(list((tmp_path / "images").iterdir())) == 2 and lines[1]["image"] == lines[2]["image"]
    name = lines[0]["image"]
    assert name.endswith(".jpg") and (tmp_path / "images" / name).read_bytes()[:2] == b"\xff\xd8"
    (source,) = read_sources([("samples", "given", str(tmp_path / "samples.jsonl"), str(tmp_path / "images"))])
    assert [sample.task for sample in source.samples][:4] == ["detection", "grounding", "rec", "negative"]


@pytest.mark.parametrize(
    ("text", "known", "names"),
    [
        ("cup, dining table, dog", (), ["cup", "dining table", "dog"]),
        ("cup, sandwich and handbag", (), ["cup", "sandwich", "handbag"]),
        ("cup, sandwich, and handbag", (), ["cup", "sandwich", "handbag"]),
        ("salt and pepper, cup", (), ["salt and pepper", "cup"]),
        ("cup, salt and pepper", ("Salt and Pepper",), ["cup", "salt and pepper"]),
        ("cat, black, cup", ("cat, black",), ["cat, black", "cup"]),
        ("cat, black, cup", ("cat",), ["cat", "black", "cup"]),
        ("salt and pepper, salt and dog", ("salt", " salt and pepper"), ["salt and pepper", "salt", "dog"]),
        ("dog", (), ["dog"]),
        ("a.b, c*", ("c*",), ["a.b", "c*"]),
    ],
)
def test_lists_of_names(text, known, names):
    assert list(split_names(text, frozenset(known))) == names


@given(
    st.lists(st.text("ab, nd'.*(", min_size=1).map(lambda text: " ".join(text.split())).filter(bool), min_size=1),
    st.sampled_from([", ", ", and "]),
)
def test_known_names_are_found_whole(names, last):
    # A name that is a prefix of another, or that contains a separator and another name, can be read in two ways.
    names = [name.strip(", ") for name in dict.fromkeys(names)]
    names = [f"{place} {name} {place}" for place, name in enumerate(names)]
    text = ", ".join(names[:-1]) + (last if names[:-1] else "") + names[-1]
    assert list(split_names(text, frozenset(names))) == names


def test_the_id_maps_resolve_ambiguous_names(tmp_path):
    maps = json.dumps({"background": 0, "cat, black": 1, "cup": 2})
    table = [
        row(GRIFFON["detection"].format("cat, black, cup and dog"), [["cup", [1, 2, 30, 40]]], target_id_maps=maps),
        row(GRIFFON["grounding"].format("cat, black, cup"), [["cup", [1, 2, 30, 40]]], target_id_maps=maps),
        row(GRIFFON["grounding"].format("man, in red"), [["man, in red", [1, 2, 30, 40]]], target_id_maps=None),
    ]
    assert [line["categories"] for line in fetch(tmp_path, table)] == [
        ["cat, black", "cup", "dog"],
        ["cat, black", "cup"],
        ["man, in red"],
    ]


def changed(**values):
    table = rows()
    table[1].update(values)
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "no column 'height'"),
        ([{"image": image(0)}], "no column 'height'"),
        (changed(solution="nothing"), "train-0.parquet: row 2: solution 'nothing' is not a list"),
        (changed(solution='[["dog", [1, 2, 3]]]'), "row 2: solution .* is not a list"),
        (changed(solution='[["dog", [[1, 2, 3, 4], [1, 2]]]]'), "row 2: solution .* is not a list"),
        (changed(solution='[["dog", [1, 2, 3, NaN]]]'), "row 2: solution .* is not a list"),
        (changed(solution='[["dog", ["1", 2, 3, 4]]]'), "row 2: solution .* is not a list"),
        (changed(solution='[["dog", [true, 2, 3, 4]]]'), "row 2: solution .* is not a list"),
        (changed(solution="[" * 100_000), "row 2: solution .* is not a list"),
        (changed(num_instances=0), "row 2: num_instances is 0, but solution has 1 boxes"),
        (changed(width=None), "row 2: width None must be a positive whole number"),
        (changed(target_id_maps="[1]"), r"row 2: target_id_maps '\[1\]' is not a JSON object"),
        (changed(problem="Where is the dog?"), "row 2: problem 'Where is the dog\\?' is in none of the known wordings"),
        (changed(problem=GRIFFON["grounding"].format("")), "row 2: problem .* is in none of the known wordings"),
        (
            changed(problem=GRIFFON["detection"].format("cup; dog")),
            "row 2: label 'dog' is not in the category list 'cup; dog'",
        ),
        (changed(image={"bytes": b"no image", "path": None}), "row 2: image: not readable"),
        (changed(image={"bytes": None, "path": "a.jpg"}), "row 2: image: no bytes"),
        (None, "neither Arrow shards nor Parquet files"),
    ],
)
def test_a_row_in_another_format_is_named(tmp_path, table, message):
    with pytest.raises(UserError, match=message):
        fetch(tmp_path, table)
    assert not (tmp_path / "samples.jsonl").exists() and not (tmp_path / "images").exists()


@pytest.mark.parametrize(
    ("save", "name"), [(save_parquet, "train-0.parquet"), (save_arrow, "data/data-00001-of-00002.arrow")]
)
def test_a_truncated_file_is_named(tmp_path, save, name):
    fetch(tmp_path, rows(), save)
    file = tmp_path / "given/data" / name
    file.write_bytes(file.read_bytes()[:-1500])
    with pytest.raises(UserError, match=f"{name}: can't be read .*; delete it and fetch it again"):
        fetch(tmp_path)


def test_benchmark_images_are_found_by_their_pixels(tmp_path):
    """Rows have no file names, so a test image is recognised by its pixels, whatever its file format in the set."""
    scenes = [scene.image for scene in draw_scenes(WORLDS["miniature"].plain, 12, 3)]
    saved = [encoded(scenes[0], "PNG"), encoded(scenes[1], "WEBP"), encoded(scenes[2]), encoded(scenes[3], "PNG")]
    (tmp_path / "test").mkdir()
    entries = []
    for number in (0, 1, 2, 5):
        (tmp_path / f"test/{number}.jpg").write_bytes(encoded(scenes[number]))
        entries.append({"id": number, "file_name": f"{number}.jpg", "width": 84, "height": 84})
    coco = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    (tmp_path / "test.json").write_text(json.dumps(coco))
    # A decoded JPEG, saved without loss: other bytes, the same pixels.
    with Image.open(tmp_path / "test/0.jpg") as decoded:
        saved[0] = encoded(np.asarray(decoded), "PNG")
    sizes = {"width": 84, "height": 84}
    question = GRIFFON["rec"].format("dog")
    table = [row(question, [["dog", [1, 1, 8, 9]]], image={"bytes": each, "path": None}, **sizes) for each in saved]
    lines = fetch(tmp_path, table, save_arrow)
    places = ["--train", "samples", "given", str(tmp_path / "samples.jsonl"), str(tmp_path / "images")]
    places += ["--benchmark", "coco", "test", str(tmp_path / "test.json"), str(tmp_path / "test")]
    index, leaks = str(tmp_path / "images.jsonl"), str(tmp_path / "leaks.json")
    index_images.main([*places, "--cache", str(tmp_path / "cache.sqlite"), "--output_index", index])
    find_leaks.main(["--index", index, "--output_json", leaks])
    found = {leak["path"].rpartition("/")[2]: leak["reason"] for leak in read_json(leaks)["images"]}
    reasons = ("same_pixels", "same_pixels", "same_file")
    assert found == {line["image"]: reason for line, reason in zip(lines, reasons, strict=False)}


class Hub:
    """A stand-in for the hub: lists the files of a folder with two shards, and provides those that are requested."""

    def __init__(self, monkeypatch, table, names=("a.parquet", "README.md", "b.parquet")):
        self.table, self.names, self.listed, self.asked = table, names, [], []
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.download)
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)

    def repo_info(self, repository, repo_type, revision=None, files_metadata=False):
        self.listed.append((repository, repo_type, revision))
        sizes = {name: 1000 - place for place, name in enumerate(self.names)}
        files = [type("File", (), {"rfilename": name, "size": size}) for name, size in sizes.items()]
        return type("Info", (), {"sha": revision or "b" * 40, "siblings": files})

    def download(self, repository, *, repo_type, revision, local_dir, allow_patterns):
        self.asked.append((revision, allow_patterns))
        local_dir.mkdir(parents=True, exist_ok=True)
        for name in allow_patterns:
            parquet.write_table(pyarrow.Table.from_pylist(self.table), local_dir / name)


def test_the_commit_of_the_first_download_is_locked(tmp_path, monkeypatch):
    hub = Hub(monkeypatch, rows())
    for _ in range(2):
        fetch(tmp_path, folder=None)
        assert read_json(tmp_path / "lock.json") == {"repositories": {"owner/data": {"revision": "b" * 40}}}
    # The smallest file is fetched and checked first; the second time the locked commit is requested.
    assert hub.asked == [("b" * 40, ["b.parquet"]), ("b" * 40, ["a.parquet", "b.parquet"])] * 2
    assert hub.listed == [("owner/data", "dataset", None), ("owner/data", "dataset", "b" * 40)]
    with pytest.raises(UserError, match="repositories.owner/data.revision is 'b+', but the download now has 'c+'"):
        fetch(tmp_path, folder=None, revision="c" * 40)


def test_another_format_is_noticed_before_the_whole_download(tmp_path, monkeypatch):
    hub = Hub(monkeypatch, changed(problem="Where is the dog?"))
    with pytest.raises(UserError, match="b.parquet: row 2: problem 'Where is the dog\\?' is in none"):
        fetch(tmp_path, folder=None)
    assert [patterns for _, patterns in hub.asked] == [["b.parquet"]] and not (tmp_path / "lock.json").exists()
    Hub(monkeypatch, rows(), names=("data.tar",))
    with pytest.raises(UserError, match="owner/data at b+: neither Arrow nor Parquet files among data.tar"):
        fetch(tmp_path, folder=None)


def test_offline_the_repository_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="owner/data at its newest commit: can't be downloaded"):
        fetch(tmp_path, folder=None)


def test_names_are_compared_without_case(tmp_path):
    maps = json.dumps({"Dog": 1, "cup": 2})
    table = [
        row(GRIFFON["detection"].format("dog, cup"), [["Dog", [1, 2, 30, 40]]], target_id_maps=maps),
        row(GRIFFON["grounding"].format("dog, cup"), [["Dog", [1, 2, 30, 40]]], target_id_maps=maps),
        row(GRIFFON["rec"].format("dog, cup"), [["dog, cup", [1, 2, 30, 40]]], target_id_maps=maps),
        row(GRIFFON["grounding"].format("cup"), [["cup", []]], target_id_maps=maps),
    ]
    read = fetch(tmp_path, table)
    assert [each["categories"] for each in read] == [["dog", "cup"], ["dog", "cup"], ["dog, cup"], ["cup"]]
    assert [len(each["objects"]) for each in read] == [1, 1, 1, 0]
