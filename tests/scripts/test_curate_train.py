"""From annotations to the training file: index, leakage guard, curation and datasheet as programs."""

import json

import check_dataset
import coco_factory
import curate_train
import find_leaks
import index_images
import make_processor
import pytest
import render_datasheet
from PIL import Image

from vision_r1.files import UserError, file_hash, read_json, read_jsonl, write_json


@pytest.fixture(scope="session")
def processor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processor") / "processor"
    make_processor.main(["--output_folder", str(folder)])
    return folder


def flags(**values):
    return [word for key, value in values.items() if value is not None for word in (f"--{key}", str(value))]


def guard(places, out, benchmarks=(), id_spaces=()):
    """Index the images and look for leaks, as the pipeline does before curation."""
    sources = [word for kind, name, *rest in places for word in ("--train", kind, name, *rest)]
    tests = [word for name, *rest in benchmarks for word in ("--benchmark", "coco", name, *rest)]
    spaces = [word for pair in id_spaces for word in ("--id_space", *pair)]
    index_images.main(
        [*sources, *tests, *spaces, *flags(cache=out / "cache.sqlite", output_index=out / "images.jsonl")]
    )
    find_leaks.main(flags(index=out / "images.jsonl", output_json=out / "leaks.json"))
    return [word for kind, name, *rest in places for word in ("--source", kind, name, *rest)] + spaces


def curate(places, out, processor, benchmarks=(), id_spaces=(), **options):
    out.mkdir(parents=True, exist_ok=True)
    sources = guard(places, out, benchmarks, id_spaces)
    values = {
        **{"family": "qwen2_5_vl", "min_pixels": 784, "max_pixels": 7056, "order": "shuffle", "seed": 0},
        **{"detection": 2, "grounding": 2, "rec": 0, "negative": 2, "min_instances": 1, "max_instances": 30},
        **{"hard_instances": 10},
        **{"min_per_category": 0, "held_out": 0, "processor": processor},
        **{"output_train": out / "train.jsonl", "output_summary": out / "curation.json"},
        **{"output_selection": out / "selection.json"},
        **{"index": out / "images.jsonl", "leaks": out / "leaks.json"},
        **options,
    }
    curate_train.main([*sources, *flags(**values)])
    return read_jsonl(out / "train.jsonl"), read_json(out / "curation.json")


def coco(folder, content=None):
    return ("coco", folder.name, *coco_factory.write(folder, content))


def test_same_arguments_same_bytes(tmp_path, processor):
    places = [coco(tmp_path / "set")]
    for name in ("one", "two"):
        curate(places, tmp_path / name, processor)
    for file in ("train.jsonl", "curation.json", "selection.json", "images.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    curate(places, tmp_path / "three", processor, seed=1)
    assert (tmp_path / "one/train.jsonl").read_bytes() != (tmp_path / "three/train.jsonl").read_bytes()


def test_another_image_of_the_same_name_and_labels_makes_another_training_file(tmp_path, processor):
    places = [coco(tmp_path / "set")]
    one, _ = curate(places, tmp_path / "one", processor)
    assert all(row["sha256"] == file_hash(row["image"]) for row in one)
    changed = one[0]["image"]
    Image.effect_noise(Image.open(changed).size, 50).save(changed)
    two, _ = curate(places, tmp_path / "two", processor)
    assert {before["image"] for before, after in zip(one, two, strict=True) if before != after} == {changed}


def test_tokens_are_what_the_processor_makes(tmp_path, processor):
    from vision_r1.families import family
    from vision_r1.processors import load_processor, prompt_text

    rows, _ = curate([coco(tmp_path / "set", coco_factory.content(size=(170, 84)))], tmp_path, processor)
    loaded = load_processor(processor, family("qwen2_5_vl"), 784, 7056)
    for row in rows:
        text = prompt_text(loaded, row["prompt"])
        with Image.open(row["image"]) as image:
            ids = loaded(text=[text], images=[image.convert("RGB")]).input_ids[0]
        assert len(ids) == row["prompt_tokens"]
        assert list(ids).count(loaded.image_token_id) == row["image_tokens"] == 8
        end = loaded.tokenizer(row["answer"] + loaded.tokenizer.eos_token).input_ids
        assert len(end) == row["answer_tokens"]


def test_a_source_with_too_few_samples_is_reported(tmp_path, processor, caplog):
    rows, summary = curate([coco(tmp_path / "set")], tmp_path, processor, negative=50)
    assert summary["short"] == ["negative"] and summary["samples"]["negative"]["written"] == 3
    assert "negative: 50 samples asked for, 3 possible" in caplog.text
    assert len(rows) == summary["rows"] == 7


def test_faulty_images_are_dropped_and_counted(tmp_path, processor):
    boxes = {number: [(1, [10, 20, 30, 40])] for number in range(1, 7)}
    place = coco(tmp_path / "set", coco_factory.content(boxes))
    images = tmp_path / "set/images"
    (images / "1.png").unlink()
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:-300])
    Image.new("RGB", (90, 84)).save(images / "3.png")
    rows, summary = curate([place], tmp_path, processor, detection=9, grounding=0, negative=0)
    assert {row["source_id"] for row in rows} == {"set/4", "set/5", "set/6"}
    assert summary["images"] == {"read": 6, "missing": 1, "unreadable": 1, "size_differs": 1}
    faults = {line["image_id"]: line["fault"] for line in read_jsonl(tmp_path / "images.jsonl") if line["fault"]}
    assert faults[3] == "size_differs: 90 x 84 pixels, its annotations are for 84 x 84"


def test_every_type_of_image_is_accepted_and_trained_on(tmp_path, processor):
    import numpy as np

    from vision_r1.families import family
    from vision_r1.training.dataset import grpo_dataset, read_rows

    names = ["cmyk.jpg", "grey.jpg", "turned.jpg", "palette.png", "alpha.png", "deep.png", "web.webp"]
    content = coco_factory.content({number: [(1, [10, 20, 30, 40])] for number in range(len(names))}, size=(112, 84))
    for entry, name in zip(content["images"], names, strict=True):
        entry["file_name"] = name
    place = coco(tmp_path / "set", content)
    folder, exif = tmp_path / "set/images", Image.Exif()
    exif[0x0112] = 8  # turned on its side
    plain = Image.fromarray(np.random.default_rng(0).integers(256, size=(84, 112, 3), dtype=np.uint8))
    plain.convert("CMYK").save(folder / "cmyk.jpg")
    plain.convert("L").save(folder / "grey.jpg")
    plain.transpose(Image.Transpose.ROTATE_270).save(folder / "turned.jpg", exif=exif)
    plain.quantize(16).save(folder / "palette.png")
    plain.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(np.arange(84 * 112, dtype=np.uint16).reshape(84, 112) * 6).save(folder / "deep.png")
    plain.save(folder / "web.webp")
    rows, summary = curate([place], tmp_path, processor, detection=9, grounding=0, negative=0)
    assert len(rows) == 7 and summary["images"] == {"read": 7}
    dataset = grpo_dataset(read_rows(tmp_path / "train.jsonl", family("qwen2_5_vl"), 784, 7056))
    assert {(row["image"].mode, row["image"].size) for row in dataset} == {("RGB", (112, 84))}
    (deep,) = (row["image"] for row, name in zip(dataset, rows, strict=True) if name["image"].endswith("deep.png"))
    assert 0 <= np.asarray(deep).min() < np.asarray(deep).max() == round((84 * 112 - 1) * 6 / 257)


def test_benchmark_images_are_dropped_by_id_by_content_and_by_looks(tmp_path, processor):
    boxes = {number: [(1, [10, 20, 30, 40])] for number in range(1, 9)}
    benchmark = coco(tmp_path / "test", coco_factory.content({number: [] for number in (101, 102, 3)}))
    place = coco(tmp_path / "train", coco_factory.content(boxes))
    from vision_r1.data.scenes import draw_scenes
    from vision_r1.data.worlds import WORLDS

    for number, scene in enumerate(draw_scenes(WORLDS["miniature"].plain, 11, 0)):  # pictures instead of noise
        (folder, name) = ("test", (101, 102, 3)[number]) if number < 3 else ("train", number - 2)
        Image.fromarray(scene.image).save(tmp_path / f"{folder}/images/{name}.png")
    images = tmp_path / "train/images"
    (images / "1.png").write_bytes((tmp_path / "test/images/101.png").read_bytes())
    Image.open(tmp_path / "test/images/102.png").save(images / "2.png", "JPEG", quality=60)
    spaces = [("train", "coco"), ("test", "coco")]
    rows, summary = curate(
        [place], tmp_path, processor, [benchmark[1:]], spaces, detection=9, grounding=9, negative=9, held_out=0.5
    )
    leaks = read_json(tmp_path / "leaks.json")
    assert leaks["leaks"] == {"same_id": 1, "same_file": 1, "same_pixels": 1}
    assert {leak["path"]: leak["reason"] for leak in leaks["images"]} == {
        str(images / "3.png"): "same_id",
        str(images / "1.png"): "same_file",
        str(images / "2.png"): "same_pixels",
    }
    assert summary["images"] == {"read": 8, "in_benchmark": 3, "held_out": 2}
    used = {row["source_id"] for row in rows}
    assert len(used) == 3 and not used & {"train/1", "train/2", "train/3"}
    selection = read_json(tmp_path / "selection.json")
    assert len(selection["images"]) == 2 and not {image["source_id"] for image in selection["images"]} & used


def test_the_selection_split_is_a_data_set(tmp_path, processor):
    curate([coco(tmp_path / "one"), coco(tmp_path / "two")], tmp_path, processor, held_out=0.8)
    check_dataset.main(
        [
            "--source",
            "coco",
            "selection",
            str(tmp_path / "selection.json"),
            ".",
            *flags(output_json=tmp_path / "checked.json"),
        ]
    )
    checked = read_json(tmp_path / "checked.json")
    assert (checked["images"], checked["missing"], checked["categories"]) == (3, 0, 3)


def test_expressions_refer_to_the_images_of_another_source(tmp_path, processor):
    place = coco(tmp_path / "train", coco_factory.content({9: [(1, [10, 20, 30, 40])]}))
    (tmp_path / "train/images/9.png").rename(tmp_path / "train/images/000000000009.jpg")
    content = {"id": 4, "file_name": "COCO_train2014_000000000009.jpg", "width": 84, "height": 84, "caption": "red cup"}
    missing = {**content, "id": 5, "file_name": "COCO_train2014_000000000010.jpg"}
    boxes = [{"image_id": number, "bbox": [1, 2, 30, 40]} for number in (4, 5)]
    file = tmp_path / "refcoco.json"
    file.write_text(json.dumps({"images": [content, missing], "annotations": boxes}))
    expressions = ("expressions", "refcoco", str(file), str(tmp_path / "train/images"))
    rows, summary = curate(
        [place, expressions],
        tmp_path,
        processor,
        id_spaces=[("refcoco", "coco")],
        rec=5,
        detection=0,
        grounding=0,
        negative=0,
    )
    assert [(row["task"], row["categories"], row["source_id"]) for row in rows] == [("rec", ["red cup"], "refcoco/9")]
    assert summary["images"]["missing"] == 2 and summary["datasets"]["refcoco"]["questions"] == 2


def test_mistakes_leave_no_file(tmp_path, processor):
    place = coco(tmp_path / "set")
    with pytest.raises(UserError, match="unknown 'llava'"):
        curate([place], tmp_path, processor, family="llava")
    with pytest.raises(UserError, match="--hold_out_from: 'typo' is not a --source"):
        curate([place], tmp_path, processor, held_out=0.5, hold_out_from="typo")
    with pytest.raises(UserError, match="no sample can be made of them; images {'read': 3}"):
        curate([place], tmp_path, processor, detection=0, grounding=0, negative=0)
    with pytest.raises(UserError, match="no sample can be made of them; images {'read': 3, 'missing': 3}"):
        curate([(*place[:3], str(tmp_path / "nowhere"))], tmp_path, processor)
    empty = coco(tmp_path / "empty", coco_factory.content({}))
    with pytest.raises(UserError, match="empty/annotations.json: no sample can be made of them"):
        curate([empty], tmp_path, processor)
    with pytest.raises(UserError, match="no tokenizer.json, nor vocab.json"):
        curate([place], tmp_path, tmp_path)
    with pytest.raises(SystemExit):
        curate([place], tmp_path, processor, seed=-1)
    assert not (tmp_path / "train.jsonl").exists()


def test_a_category_without_boxes_is_only_used_in_negatives(tmp_path, processor):
    place = coco(tmp_path / "set", coco_factory.content({1: [(1, [10, 20, 30, 40])]}, ("cat, black", "unicorn")))
    rows, _ = curate([place], tmp_path, processor, min_per_category=5, grounding=5)
    asked = {row["task"]: row["categories"] for row in rows}
    assert asked == {"detection": ["cat, black", "unicorn"], "grounding": ["cat, black"], "negative": ["unicorn"]}


def test_real_coco_goes_through_to_the_datasheet(coco_tiny, tmp_path, processor):
    train, val = (
        (name, str(coco_tiny / f"annotations/instances_{name}.json"), str(coco_tiny / name))
        for name in ("train2017", "val2017")
    )
    spaces = [("train2017", "coco"), ("val2017", "coco")]
    rows, summary = curate(
        [("coco", *train)], tmp_path, processor, [val], spaces, detection=60, grounding=60, negative=20, held_out=0.04
    )
    assert len(rows) == 140 and not summary["short"] and summary["images"] == {"read": 80, "held_out": 3}
    assert len(rows[0]["categories"]) in (1, 80)
    for row in rows:
        for item in row["objects"]:
            x1, y1, x2, y2 = item["bbox"]
            assert 0 <= x1 < x2 <= row["width"] and 0 <= y1 < y2 <= row["height"]
    (tmp_path / "run/data").mkdir(parents=True)
    for name in ("train.jsonl", "curation.json", "leaks.json"):
        (tmp_path / name).rename(tmp_path / "run/data" / name)
    places = {"annotations": train[1], "images": train[2], "licence": "CC & co"}
    tasks = {"train": ["train2017"], "detection": 60, "grounding": 60, "negative": 20, "rec": 0}
    about = {"seed": 0, "report": {"title": "<b>COCO</b>"}, "data": tasks, "experiments": {}}
    write_json(tmp_path / "run/config.json", about | {"datasets": {"train2017": places}, "archives": {}})
    out = flags(output_page=tmp_path / "datasheet.html", output_numbers=tmp_path / "datasheet.json")
    render_datasheet.main(["--run", str(tmp_path / "run"), *out])
    page, numbers = (tmp_path / "datasheet.html").read_text(), read_json(tmp_path / "datasheet.json")
    assert page.count("<article>") == 24 and page.count("data:image/webp") == 48
    assert "&lt;b&gt;COCO" in page and "<b>COCO" not in page and "CC &amp; co" in page
    assert numbers["rows"] == 140 and numbers["sources"]["train2017"] == {
        "detection": 60,
        "grounding": 60,
        "negative": 20,
    }
    assert sum(numbers["instances"].values()) == 140
    assert sum(numbers["object_sizes"].values()) == sum(len(row["objects"]) for row in rows)
    assert numbers["categories"]["person"]["objects"] > 50
