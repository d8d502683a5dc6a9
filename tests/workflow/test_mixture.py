"""A small Table 7: every type of source, from archives downloaded by hand to the training file, through Snakemake."""

import json
from collections import Counter

import coco_factory
import pytest
from archive_factory import encoded, pictures, tarred, zipped
from datasets import Dataset
from project import copy_project
from released_rows import rows as released_rows

pytestmark = pytest.mark.slow

BOX, SMALL = [10, 20, 30, 40], [50, 5, 20, 25]


def annotated(names, ids, boxes, categories=("circle", "square", "triangle")):
    """A COCO file; all `boxes` of an id are of category 1."""
    content = coco_factory.content({number: [(1, box) for box in boxes(number)] for number in ids}, categories)
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    return json.dumps(content).encode()


def numbered(number):
    return f"{number:012d}.jpg"


def coco(seed=1):
    """20 training images, half of them with 3 objects, and 4 test images."""
    train, test = pictures(seed) + pictures(seed + 1), pictures(seed + 2)[:4]
    files = {f"train2017/{numbered(place)}": encoded(image) for place, image in enumerate(train[:20], start=1)}
    tests = {f"val2017/{numbered(place)}": encoded(image) for place, image in enumerate(test, start=101)}
    ids = range(1, 21), range(101, 105)
    many = [BOX, SMALL, [1, 1, 9, 9]]
    notes = {
        "annotations/instances_train2017.json": annotated(
            map(numbered, ids[0]), ids[0], lambda number: many if number <= 10 else many[:1]
        ),
        "annotations/instances_val2017.json": annotated(map(numbered, ids[1]), ids[1], lambda number: [BOX]),
    }
    return {
        "coco_train2017.zip": zipped(files),
        "coco_val2017.zip": zipped(tests),
        "coco_annotations.zip": zipped(notes),
    }


def expressions():
    """RefCOCO's refer to images 7 to 12, gRefCOCO's to 1 to 6; each set also has one about a test image."""
    size = {"width": 84, "height": 84}
    phrases = [
        {"id": place, "file_name": f"COCO_train2014_{numbered(number)}", "caption": f"thing {number}", **size}
        for place, number in enumerate([*range(7, 13), 101])
    ]
    boxes = [{"image_id": place, "bbox": BOX} for place in range(len(phrases))]
    content = json.dumps({"images": phrases, "annotations": boxes}).encode()
    ids = [*range(1, 7), 102]
    images = [{"id": number, "file_name": f"COCO_train2014_{numbered(number)}", **size} for number in ids]
    instances = [{"id": 10 * n + k, "image_id": n, "bbox": box} for n in ids for k, box in enumerate([BOX, SMALL])]
    references = [
        {
            **{"ref_id": number, "image_id": number, "split": "train", "sentences": [{"sent": f"both of {number}"}]},
            "ann_id": [-1] if number == 6 else [10 * number, 10 * number + 1],
        }
        for number in ids
    ]
    return {
        "mdetr_annotations.tar.gz": tarred({"OpenSource/finetune_refcoco_train.json": content}),
        "grefcoco_references.json": json.dumps(references).encode(),
        "grefcoco_instances.json": json.dumps({"images": images, "annotations": instances}).encode(),
    }


def genome(seed=5):
    """One image in the first folder and four in the second, where number 4 is COCO's test image 103."""
    images = pictures(seed)
    folders = {1: "VG_100K_2", 2: "VG_100K_2", 3: "VG_100K_2", 4: "VG_100K_2", 5: "VG_100K"}
    facts = [
        {
            **{"image_id": number, "width": 84, "height": 84, "coco_id": 103 if number == 4 else None},
            "url": f"https://cs.stanford.edu/people/rak248/{folder}/{number}.jpg",
        }
        for number, folder in folders.items()
    ]
    region = {"x": 10, "y": 20, "width": 30, "height": 40}
    regions = [{"id": number, "regions": [{"phrase": f"part {number}", **region}]} for number in folders]
    files = {
        folder: {f"{folder}/{number}.jpg": encoded(images[number]) for number in folders if folders[number] == folder}
        for folder in ("VG_100K", "VG_100K_2")
    }
    return {
        "visual_genome_regions.zip": zipped({"region_descriptions.json": json.dumps(regions).encode()}),
        "visual_genome_image_data.zip": zipped({"image_data.json": json.dumps(facts).encode()}),
        "visual_genome_images.zip": zipped(files["VG_100K"]),
        "visual_genome_images_2.zip": zipped(files["VG_100K_2"]),
    }


def odinw(seed=7):
    """pothole: 6 training images; the first looks like one of the valid split, the second is a test image."""
    train, valid, test = pictures(seed), pictures(seed + 1), pictures(seed + 2)
    files = {}
    for split, images in (("train", train[:6]), ("valid", valid[:3]), ("test", test[:3])):
        ids = range(1, len(images) + 1)
        files |= {f"pothole/{split}/{number}.jpg": encoded(images[number - 1]) for number in ids}
        names = [f"{number}.jpg" for number in ids]
        place = f"pothole/{split}/annotations_without_background.json"
        files[place] = annotated(names, ids, lambda number: [BOX, SMALL], ("pothole", "lid"))
    files["pothole/train/1.jpg"] = encoded(valid[0], "JPEG", quality=70)
    files["pothole/train/2.jpg"] = files["pothole/test/1.jpg"]
    return {"odinw_pothole.zip": zipped(files)}


def v3det(folder, seed=11):
    """Four images in their categories' folders, and one that the crawler missed; two categories share a name."""
    names = [f"images/n0{number}/{number}.jpg" for number in range(1, 6)]
    for name, image in zip(names[:4], pictures(seed), strict=False):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(encoded(image))
    content = json.loads(annotated(names, range(1, 6), lambda number: [BOX], ("crane", "owl", "crane")))
    for annotation in content["annotations"][:2]:
        annotation["category_id"] = 3
    return {"v3det_annotations.json": json.dumps(content).encode()}


OVERLAY = {
    "run": "mixture",
    "datasets": {
        "coco_train2017": {"expect": {"images": 20, "boxes": 40, "categories": 3}},
        "coco_val2017": {"expect": {"images": 4, "boxes": 4, "categories": 3}},
        "odinw_train": {"parts": ["odinw_pothole_train"]},
        "odinw_valid": {"parts": ["odinw_pothole"]},
        "odinw_test": {"parts": ["odinw_pothole_test"]},
    },
    "data": {
        **{"train": ["coco_train2017"], "detection": 8, "grounding": {"odinw_train": 2, "v3det_train": 2}},
        **{"negative": {"odinw_train": 1, "grefcoco": 1}, "rec": {"refcoco": 3, "grefcoco": 2, "visual_genome": 4}},
        **{"hard_share": 0.5, "hard_instances": 2, "min_per_category": 0, "held_out": 0.1},
        "keep_out": ["odinw_valid", "odinw_test"],
    },
    "evaluation": {
        "suites": {"coco": ["coco_val2017"], "odinw13": ["odinw_pothole"]},
        "suite_protocols": {"coco": ["one-prompt"], "odinw13": ["one-prompt"]},
    },
    "report": {"suites": ["coco", "odinw13"]},
}


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A copy of the project with every archive already in place; nothing is downloaded."""
    project = copy_project(root, tmp_path_factory.mktemp("project"))
    downloads = project.folder / "results/downloads"
    downloads.mkdir(parents=True)
    files = coco() | expressions() | genome() | odinw() | v3det(project.folder / "v3det")
    for name, content in files.items():
        (downloads / name).write_bytes(content)
    return project


def curated(project, values):
    finished = project.snakemake("--configfile", project.overlay(values), "--", "results/mixture/data/datasheet.html")
    assert "download_archive" not in finished.stdout
    data = project.folder / "results/mixture/data"
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    return rows, json.loads((data / "curation.json").read_text()), (data / "datasheet.html").read_text()


def by_source(rows, task):
    return dict(Counter(row["source_id"].partition("/")[0] for row in rows if row["task"] == task))


def test_every_source_gives_its_share(project):
    rows, summary, page = curated(project, OVERLAY)
    assert by_source(rows, "detection") == {"coco_train2017": 8}
    assert by_source(rows, "grounding") == {"odinw_pothole_train": 4}  # V3Det's images have no folder here
    assert by_source(rows, "negative") == {"odinw_pothole_train": 1, "grefcoco": 1}
    genome = {"visual_genome_1": 1, "visual_genome_2": 3}
    assert by_source(rows, "rec") == {"refcoco": 3, "grefcoco": 2, **genome}
    assert sorted(row["num_instances"] for row in rows if row["task"] == "detection") == [1] * 4 + [3] * 4
    both = [row for row in rows if row["task"] == "rec" and row["source_id"].startswith("grefcoco/")]
    assert all(row["prompt"].startswith("Locate every both of ") and row["num_instances"] == 2 for row in both)
    assert summary["short"] == []
    (note,) = summary["notes"]
    assert note.startswith("v3det_train has no image folder (datasets.v3det_train.images): its 2 grounding samples are")
    assert note in page and "CC BY-NC-SA 4.0" in page
    log = (project.folder / "results/mixture/logs/curate_train.log").read_text()
    assert note in log


def test_benchmark_images_are_dropped_from_every_source(project):
    rows, summary, _ = curated(project, OVERLAY)
    leaks = json.loads((project.folder / "results/mixture/data/leaks.json").read_text())["images"]
    assert {"/".join(leak["path"].rsplit("/", 2)[-2:]): leak["reason"] for leak in leaks} == {
        f"train2017/{numbered(101)}": "same_id",  # RefCOCO's
        f"train2017/{numbered(102)}": "same_id",  # gRefCOCO's
        "VG_100K_2/4.jpg": "same_id",
        "train/1.jpg": "same_pixels",  # valid
        "train/2.jpg": "same_file",  # test
    }
    assert not {row["image"] for row in rows} & {leak["path"] for leak in leaks}
    assert summary["images"]["in_benchmark"] == 5
    selection = json.loads((project.folder / "results/mixture/data/selection.json").read_text())
    held_out = {image["file_name"] for image in selection["images"]}
    assert len(held_out) == 2 and not held_out & {row["image"] for row in rows}
    assert {image["source_id"].partition("/")[0] for image in selection["images"]} == {"coco_train2017"}


def test_with_its_images_v3det_gives_its_share(project):
    here = {**OVERLAY, "datasets": {**OVERLAY["datasets"], "v3det_train": {"images": "v3det"}}}
    rows, summary, page = curated(project, here)
    assert by_source(rows, "grounding") == {"odinw_pothole_train": 2, "v3det_train": 2}
    assert summary["images"]["missing"] == 1 and summary["notes"] == [] and "has no image folder" not in page
    assert {row["categories"][0] for row in rows if row["source_id"].startswith("v3det")} == {"crane"}


def test_the_released_set_replaces_the_mixture(project):
    Dataset.from_list(released_rows()).save_to_disk(project.folder / "released")
    sources = {"datasets": {**OVERLAY["datasets"], "vision_r1_data": {"released": {"folder": "released"}}}}
    data = {"train": ["vision_r1_data"], "detection": 9, "grounding": 9, "rec": 9, "negative": 0, "held_out": 0}
    rows, summary, page = curated(project, {**OVERLAY, **sources, "data": OVERLAY["data"] | data})
    assert by_source(rows, "detection") == {"vision_r1_data": 1}
    assert by_source(rows, "grounding") == {"vision_r1_data": 3} and by_source(rows, "rec") == {"vision_r1_data": 2}
    assert by_source(rows, "negative") == {} and "CC BY-NC 4.0" in page
    assert {row["prompt"] for row in rows if row["task"] == "rec"} == {
        "Locate every man, on the left in the image and output the coordinates in JSON format.",
        "Locate every man in the image and output the coordinates in JSON format.",
    }
