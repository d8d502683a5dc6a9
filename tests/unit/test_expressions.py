"""Region phrases of Visual Genome and expressions of gRefCOCO become samples, or an error names the item."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1.data.expressions import REGIONS_AN_IMAGE, read_references, read_regions
from vision_r1.data.sources import read_sources
from vision_r1.files import UserError

URL = "https://cs.stanford.edu/people/rak248/{}/{}.jpg"


def write(folder, name, content):
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def region(phrase, x=10, **more):
    return {"region_id": 1, "image_id": 1, "phrase": phrase, "x": x, "y": 20, "width": 30, "height": 40, **more}


def genome(folder, *phrases, parent="VG_100K", coco_id=None, **changes):
    image = {"image_id": 1, "width": 800, "height": 600, "url": URL.format(parent, 1), "coco_id": coco_id}
    entry = {"id": 1, "regions": [region(phrase, place) for place, phrase in enumerate(phrases)]}
    image_data = write(folder, "image_data.json", [{**image, "flickr_id": None, **changes}])
    return write(folder, "region_descriptions.json", [entry]), image_data


def test_a_region_phrase_is_a_question_about_one_box(tmp_path):
    file, image_data = genome(tmp_path, " A  red\ncup", "two dogs")
    first, second = read_regions(file, image_data, "any/VG_100K")
    assert (first.image, first.width, first.height) == ("any/VG_100K/1.jpg", 800, 600)
    assert (first.task, first.categories, first.objects[0].bbox) == ("rec", ("A red cup",), (0, 20, 30, 60))
    assert (first.image_id, first.coco_id, second.categories) == (1, None, ("two dogs",))


def test_images_in_the_other_folder_belong_to_another_data_set(tmp_path):
    file, image_data = genome(tmp_path, "a cup", parent="VG_100K_2")
    assert list(read_regions(file, image_data, "any/VG_100K")) == []
    assert len(list(read_regions(file, image_data, "any/VG_100K_2"))) == 1


def test_an_image_from_coco_has_its_coco_id(tmp_path):
    file, image_data = genome(tmp_path, "a cup", coco_id=139)
    (source,) = read_sources([("regions", "genome", file, "any/VG_100K", image_data)])
    (image,) = source.images()
    assert (image.id, image.id_space, source.samples[0].image_id) == (139, "coco", 1)


@given(st.lists(st.sampled_from(["a", "A", "b", "c", " ", "d e", "d  e", "f", "g", "h", "i", "j"]), max_size=30))
def test_only_a_few_phrases_per_image_are_kept_and_no_repeated_ones(tmp_path_factory, phrases):
    file, image_data = genome(tmp_path_factory.mktemp("genome"), *phrases)
    kept = [sample.categories[0] for sample in read_regions(file, image_data, "VG_100K")]
    plain = [" ".join(phrase.split()).casefold() for phrase in phrases]
    once = [phrase for phrase in plain if phrase and plain.count(phrase) == 1]
    assert len(kept) == min(len(once), REGIONS_AN_IMAGE)
    places = [once.index(phrase.casefold()) for phrase in kept]
    assert places == sorted(set(places))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 2}, "region_descriptions.json: image 1 is not in .*image_data.json"),
        ({"width": 0}, "image_data.json: image 1: a size of 0 x 600"),
        ({"url": None}, "image_data.json: not in Visual Genome's image_data: "),
    ],
)
def test_invalid_image_data(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        list(read_regions(*genome(tmp_path, "a cup", **changes), "VG_100K"))


def test_invalid_regions(tmp_path):
    file, image_data = genome(tmp_path, "a cup")
    write(tmp_path, "region_descriptions.json", [{"id": 1, "regions": [region(None)]}])
    with pytest.raises(
        UserError, match="region_descriptions.json: not in Visual Genome's region_descriptions: .*phrase"
    ):
        list(read_regions(file, image_data, "VG_100K"))


INSTANCES = {
    "images": [{"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": 640, "height": 480}],
    "annotations": [
        {"id": 1, "image_id": 9, "bbox": [0, 0, 5, 5], "segmentation": [[1, 2]], "iscrowd": 0},
        {"id": 2, "image_id": 9, "bbox": [10, 20, 30.5, 40]},
        {"id": 3, "image_id": 8, "bbox": [10, 20, 30, 40]},
    ],
}


def reference(ann_id, *phrases, split="train", **changes):
    sentences = [{"sent": phrase, "sent_id": 1, "raw": phrase} for phrase in phrases]
    ids = {"ref_id": 7, "image_id": 9, "split": split, "ann_id": ann_id, "category_id": ann_id}
    return {**ids, "sentences": sentences, "file_name": "COCO_train2014_000000000009_1.jpg", **changes}


def read_grefs(tmp_path, *references, id_space="coco"):
    places = write(tmp_path, "grefs(unc).json", references), write(tmp_path, "instances.json", INSTANCES)
    return list(read_references(*places, "train2017", id_space, "train"))


def test_expressions_for_several_objects_and_for_none(tmp_path):
    both, twice, none, nothing = read_grefs(
        tmp_path,
        reference([1, 2], "both  cups", "the two"),
        reference([2], "the left cup"),  # RefCOCO has it
        reference(1, "the right cup"),
        reference([-1], "the dog"),
        reference(-1, "a cat"),
        reference([1, 2], "of another split", split="val"),
    )
    assert (both.task, both.categories, both.image_id) == ("rec", ("both cups",), 9)
    assert [item.bbox for item in both.objects] == [(0, 0, 5, 5), (10, 20, 40.5, 60)]
    assert both.image == "train2017/000000000009.jpg" and (both.width, both.height) == (640, 480)
    assert twice.categories == ("the two",) and {item.label for item in twice.objects} == {"the two"}
    assert [(item.task, item.categories, item.objects) for item in (none, nothing)] == [
        ("negative", ("the dog",), ()),
        ("negative", ("a cat",), ()),
    ]


def test_outside_coco_file_names_are_used(tmp_path):
    (sample,) = read_grefs(tmp_path, reference([1, 2], "both"), id_space=None)
    assert sample.image == "train2017/COCO_train2014_000000000009.jpg"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (reference([1, 4], "both"), r"grefs\(unc\).json: ref 7: ann_id 4 is not a box of image 9 in .*instances.json"),
        (reference([1, 3], "both"), "ref 7: ann_id 3 is not a box of image 9"),
        (reference([1, 2], "both", image_id=10), "ref 7: image_id 10 is not in .*instances.json"),
        (reference([1, 2], " "), "ref 7: an empty sentence"),
        (reference("one", "both"), "not in gRefCOCO's grefs: .*ann_id"),
    ],
)
def test_invalid_references(tmp_path, entry, message):
    with pytest.raises(UserError, match=message):
        read_grefs(tmp_path, entry)
