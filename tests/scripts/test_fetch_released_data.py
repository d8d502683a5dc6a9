"""The authors' released set: parquet files with images inside become image files and readable questions."""

import io
import json

import fetch_released_data
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from vision_r1.data.sources import read_sources
from vision_r1.files import UserError, read_json, read_jsonl
from vision_r1.prompts import DEFAULT

PROMPTS = [
    DEFAULT.ask("detection", ["cup", "dog"]),
    DEFAULT.ask("grounding", ["dog"]),
    DEFAULT.ask("rec", ["man on the left"]),
]


def image(number, kind="JPEG"):
    pixels = np.random.default_rng(number).integers(256, size=(48, 64, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return {"bytes": content.getvalue(), "path": None}


def rows():
    answers = [
        [["cup", [1, 2, 30, 40]], ["dog", [0, 0, 9, 9]]],
        [["dog", [5, 5, 20, 20]]],
        [["man on the left", [1, 1, 8, 9]]],
    ]
    return [
        {
            "image": image(min(number, 1), "PNG" if number else "JPEG"),  # the last two are about one image
            "problem": f"<image>{prompt}",
            "solution": json.dumps(answer),
            **{"width": 64, "height": 48, "num_instances": len(answer), "target_id_maps": "{}"},
        }
        for number, (prompt, answer) in enumerate(zip(PROMPTS, answers, strict=True))
    ]


def fetch(tmp_path, table, **options):
    folder = tmp_path / "parquet/data"
    folder.mkdir(parents=True, exist_ok=True)
    if table is not None:
        parquet.write_table(pyarrow.Table.from_pylist(table), folder / "train-0.parquet")
    values = {"repository": "owner/data", "folder": tmp_path / "parquet", "lock": tmp_path / "lock.json"}
    values |= {"images": tmp_path / "images", "output": tmp_path / "samples.jsonl"} | options
    fetch_released_data.main([word for key, value in values.items() if value for word in (f"--{key}", str(value))])


def test_images_become_files_and_rows_become_questions(tmp_path):
    fetch(tmp_path, rows())
    lines = read_jsonl(tmp_path / "samples.jsonl")
    assert [line["prompt"] for line in lines] == PROMPTS
    assert lines[0]["objects"] == [{"label": "cup", "bbox": [1, 2, 30, 40]}, {"label": "dog", "bbox": [0, 0, 9, 9]}]
    assert len(list((tmp_path / "images").iterdir())) == 2 and lines[1]["image"] == lines[2]["image"]
    assert (
        lines[0]["image"].endswith(".jpg") and (tmp_path / "images" / lines[0]["image"]).read_bytes()[:2] == b"\xff\xd8"
    )
    (source,) = read_sources([("samples", "given", str(tmp_path / "samples.jsonl"), str(tmp_path / "images"))])
    assert [sample.task for sample in source.samples] == ["detection", "grounding", "rec"]


def changed(**values):
    table = rows()
    table[1].update(values)
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "no column 'height'"),
        ([{"image": image(0)}], "no column 'height'"),
        (changed(solution="nothing"), "row 2: solution 'nothing' is no list"),
        (changed(solution='[["dog", [1, 2, 3]]]'), "row 2: solution .* is no list"),
        (changed(image={"bytes": b"no image", "path": None}), "row 2: image: not readable"),
        (changed(image={"bytes": None, "path": "a.jpg"}), "row 2: image: no bytes"),
        (None, "no parquet files"),
    ],
)
def test_what_is_not_of_the_form_is_named(tmp_path, table, message):
    with pytest.raises(UserError, match=message):
        fetch(tmp_path, table)
    assert not (tmp_path / "samples.jsonl").exists() and not (tmp_path / "images").exists()


def test_a_cut_file_is_named(tmp_path):
    fetch(tmp_path, rows())
    file = tmp_path / "parquet/data/train-0.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="train-0.parquet: can't be read .*; delete it and fetch it again"):
        fetch(tmp_path, None)


def test_the_commit_of_the_first_download_is_locked(tmp_path, monkeypatch):
    asked = []

    def snapshot_download(repository, *, repo_type, revision, local_dir, allow_patterns):
        asked.append((repository, repo_type, revision, allow_patterns))
        local_dir.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows()), local_dir / "train-0.parquet")

    class Newest:
        def repo_info(self, repository, repo_type):
            return type("Info", (), {"sha": "b" * 40})

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi", Newest)
    fetch(tmp_path, None, folder=None)
    assert read_json(tmp_path / "lock.json") == {"repositories": {"owner/data": {"revision": "b" * 40}}}
    monkeypatch.setattr(Newest, "repo_info", None)  # the locked commit is taken, the hub is not asked for the newest
    fetch(tmp_path, None, folder=None)
    assert asked == [("owner/data", "dataset", "b" * 40, ["*.parquet"])] * 2
    with pytest.raises(UserError, match="repositories.owner/data.revision is 'b+', but what came now has 'c+'"):
        fetch(tmp_path, None, folder=None, revision="c" * 40)


def test_offline_the_repository_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="owner/data at None: can't be downloaded"):
        fetch(tmp_path, None, folder=None)
