"""From web addresses to the training file, through Snakemake: downloads, checks, leakage guard, curation, datasheet."""

import hashlib
import io
import json
import re
import zipfile
from contextlib import ExitStack

import coco_factory
import pytest
from archive_factory import encoded, pictures, tarred, zipped
from file_server import Behaviour, serving
from label_writers import content as labelled
from label_writers import write_csv, write_voc, write_yolo
from project import copy_project


def annotated(names, ids):
    boxes = {number: [(1, [10, 20, 30, 40]), (2, [50, 5, 20, 25])] for number in ids}
    content = coco_factory.content(boxes)
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    return json.dumps(content).encode()


def files_hash(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = [f"{hashlib.sha256(archive.read(name)).hexdigest()}  {name}\n" for name in sorted(archive.namelist())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.fixture(scope="module")
def archives():
    """A small COCO train and val, and referring expressions about both, as archives, with three planted leaks."""
    train, val = pictures(1), pictures(2)
    files = {f"train2017/{number:012d}.jpg": encoded(image) for number, image in enumerate(train, start=1)}
    files["train2017/000000000003.jpg"] = encoded(val[0], "JPEG", quality=70)  # re-encoded: found by its looks
    files["train2017/000000000004.jpg"] = encoded(val[1])  # the same file under another name
    tests = {f"val2017/{number:012d}.jpg": encoded(image) for number, image in enumerate(val, start=101)}
    annotations = {
        f"annotations/instances_{name}2017.json": annotated([f"{number:012d}.jpg" for number in ids], ids)
        for name, ids in (("train", range(1, 13)), ("val", range(101, 113)))
    }
    phrases = {
        "images": [
            {
                "id": 1,
                "file_name": "COCO_train2014_000000000007.jpg",
                "caption": "the red one",
                "width": 84,
                "height": 84,
            },
            {
                "id": 2,
                "file_name": "COCO_train2014_000000000105.jpg",
                "caption": "test image",
                "width": 84,
                "height": 84,
            },
        ],
        "annotations": [{"image_id": number, "bbox": [1, 2, 30, 40]} for number in (1, 2)],
    }
    return {
        "train.zip": zipped(files),
        "val.zip": zipped(tests),
        "annotations.zip": zipped(annotations),
        "phrases.tar.gz": tarred({"OpenSource/phrases.json": json.dumps(phrases).encode()}),
    }


@pytest.fixture(scope="module")
def run(root, tmp_path_factory, archives):
    """A run of target `data` from four web addresses; yields the project, the servers' behaviour and the overlay."""
    project = copy_project(root, tmp_path_factory.mktemp("project"))
    with ExitStack() as stack:
        behaviours = {name: Behaviour(content) for name, content in archives.items()}
        behaviours["train.zip"].breaks = [1500]
        urls = {name: stack.enter_context(serving(behaviour)) for name, behaviour in behaviours.items()}
        gone = stack.enter_context(serving(Behaviour(b"", statuses=[404] * 99)))
        entries = {}
        for name, content in archives.items():
            md5 = hashlib.md5(content).hexdigest()
            known = {"bytes": len(content), "md5": md5} if name == "train.zip" else {}
            known |= {"content_sha256": files_hash(content)} if name == "val.zip" else {}
            url = re.sub("file.zip$", name, urls[name])
            entries[name.partition(".")[0]] = {"url": url} | known
        entries["val"] |= {"url": gone, "mirrors": [urls["val.zip"]]}
        coco = {"id_space": "coco", "licence": "CC BY <4.0>"}
        places = {
            name: {"archive": "annotations", "path": f"annotations/instances_{name}2017.json"}
            for name in ("train", "val")
        }
        images = {name: {"archive": name, "path": f"{name}2017"} for name in ("train", "val")}
        overlay = {
            "run": "data_test",
            "archives": entries,
            "datasets": {
                "small_train": {
                    "annotations": places["train"],
                    "images": images["train"],
                    **coco,
                    "expect": {"images": 12},
                },
                "small_val": {"annotations": places["val"], "images": images["val"], **coco},
                "phrases": {
                    "expressions": {"archive": "phrases", "path": "OpenSource/phrases.json"},
                    "images": images["train"],
                    **coco,
                },
            },
            "data": {"train": ["small_train", "phrases"], "detection": 5, "grounding": 5, "rec": 5, "negative": 3}
            | {"held_out": 0.2, "min_per_category": 1},
            "evaluation": {"suites": {"shapes": ["small_val"]}},
            "report": {"suites": ["shapes"]},
        }
        project.snakemake("--configfile", project.overlay(overlay), "--", "data")
        yield project, behaviours, overlay


@pytest.mark.slow
def test_downloads_are_shared_between_clones(run, root, tmp_path, monkeypatch):
    """With Snakemake's between-workflow cache the second clone requests nothing from the server."""
    _, behaviours, overlay = run
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    asked = []
    for name in ("first", "second"):
        clone = copy_project(root, tmp_path / name)
        target = "results/downloads/phrases.tar.gz"
        clone.snakemake("--cache", "--configfile", clone.overlay(overlay), "--", target)
        assert (clone.folder / target).read_bytes() == behaviours["phrases.tar.gz"].content
        asked.append(len(behaviours["phrases.tar.gz"].seen))
    assert asked[0] == asked[1]


def read(project, name):
    return json.loads((project.folder / "results/data_test/data" / name).read_text())


def test_every_byte_is_accounted_for(run, archives):
    project, behaviours, _ = run
    assert len(behaviours["train.zip"].seen) == 2  # one connection was broken
    downloads = project.folder / "results/downloads"
    for name, content in archives.items():
        assert (downloads / name).read_bytes() == content
    manifest = json.loads((downloads / "train.json").read_text())
    assert (manifest["files"], manifest["images"]) == (12, 12)
    lock = json.loads((project.folder / "config/datasets.lock.json").read_text())
    assert set(lock["archives"]) == set(archives) - {"val.zip"}  # its files are verified instead
    assert lock["archives"]["phrases.tar.gz"]["bytes"] == len(archives["phrases.tar.gz"])
    assert lock["datasets"]["small_val"] == {"images": 12, "boxes": 24, "categories": 3}
    assert lock["datasets"]["phrases"] == {"images": 2, "boxes": 2, "questions": 2}


def test_planted_leaks_are_dropped_and_listed(run):
    project, *_ = run
    leaks = read(project, "leaks.json")
    found = {leak["path"].rpartition("/")[2]: leak["reason"] for leak in leaks["images"]}
    assert found == {
        "000000000003.jpg": "same_pixels",
        "000000000004.jpg": "same_file",
        "000000000105.jpg": "same_id",
    }
    summary = read(project, "curation.json")
    assert summary["images"] == {"read": 14, "in_benchmark": 3, "held_out": 2}
    rows = [
        json.loads(line) for line in (project.folder / "results/data_test/data/train.jsonl").read_text().splitlines()
    ]
    assert {row["task"] for row in rows} >= {"detection", "grounding", "negative"}
    assert not {row["image"].rpartition("/")[2] for row in rows} & found.keys()
    assert len(read(project, "selection.json")["images"]) == 2


def test_the_datasheet_is_a_page(run):
    project, *_ = run
    page = (project.folder / "results/data_test/data/datasheet.html").read_text()
    assert "CC BY &lt;4.0&gt;" in page and "http" not in page.replace("http-equiv", "")


def test_archives_downloaded_by_hand_are_used(run, archives):
    project, behaviours, overlay = run
    (project.folder / "results/downloads/val.zip").unlink()
    (project.folder / "results/downloads/val.zip").write_bytes(archives["val.zip"])
    asked = {name: len(behaviour.seen) for name, behaviour in behaviours.items()}
    finished = project.snakemake(
        "--configfile", project.overlay(overlay), "--", "data", env={**__import__("os").environ, "HF_HUB_OFFLINE": "1"}
    )
    assert "download_archive" not in finished.stdout
    assert {name: len(behaviour.seen) for name, behaviour in behaviours.items()} == asked


def test_an_unexpected_number_of_images_stops_the_run(run):
    project, _, overlay = run
    entry = overlay["datasets"]["small_train"]
    changed = {**overlay, "datasets": {**overlay["datasets"], "small_train": {**entry, "expect": {"images": 13}}}}
    failed = project.snakemake("--configfile", project.overlay(changed), "--", "data", check=False)
    assert failed.returncode and "12 images, not 13" in failed.stdout


@pytest.mark.slow
def test_each_label_format_needs_one_entry(root, tmp_path):
    project = copy_project(root, tmp_path / "project")
    coco_factory.write(tmp_path, labelled())
    images = tmp_path / "images"
    places = {
        "voc": write_voc(tmp_path / "xml", labelled()),
        "yolo": write_yolo(tmp_path, labelled(), images),
        "csv": write_csv(tmp_path, labelled()),
    }
    entries = {
        f"my_{kind}": {"format": kind, "annotations": str(path), "images": str(images), "expect": {"boxes": 3}}
        for kind, path in places.items()
    }
    overlay = {"run": "mine", "datasets": entries, "data": {"train": ["my_voc", "my_yolo"]}}
    overlay |= {"evaluation": {"suites": {"shapes": ["my_csv"]}}, "report": {"suites": ["shapes"]}}
    name = project.overlay(overlay)
    jobs = project.planned("--configfile", name, "--", "data")
    assert (jobs["convert_annotations"], jobs["check_dataset"], jobs["index_images"]) == (3, 3, 1)
    project.snakemake("--configfile", name, "--", *(f"results/mine/data/checked/{each}.json" for each in entries))
    for each in entries:
        checked = json.loads((project.folder / f"results/mine/data/checked/{each}.json").read_text())
        assert (checked["images"], checked["boxes"], checked["categories"]) == (3, 3, 3)
    overlay["datasets"]["my_voc"] = {"format": "voc", "scenes": {"count": 1, "seed": 1, "shift": "none"}}
    failed = project.snakemake("--dry-run", "--configfile", project.overlay(overlay), check=False)
    assert "error: config: datasets.my_voc: 'format' goes with annotations, which is missing" in failed.stdout
