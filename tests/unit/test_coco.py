import json

import coco_factory
import pytest
from PIL import Image

from vision_r1.data.coco import check_images, read_all, read_coco
from vision_r1.files import UserError


def test_reads_images_objects_and_categories_in_the_file_s_order(tmp_path):
    coco = coco_factory.content()
    coco["categories"].reverse()
    coco["images"].reverse()
    dataset = read_coco("set", *coco_factory.write(tmp_path, coco))
    assert list(dataset.categories.items()) == [(3, "triangle"), (2, "square"), (1, "circle")]
    assert [image.id for image in dataset.images] == [3, 2, 1]
    first, second = dataset.images[2].objects
    assert (first.label, first.bbox, first.corners) == ("circle", (10, 20, 30, 40), (10, 20, 40, 60))
    assert (second.label, second.area, second.crowd) == ("square", 500, False)
    assert dataset.images[0].path == str(tmp_path / "images/3.png")


def test_area_and_crowd_flag_may_be_absent(tmp_path):
    coco = coco_factory.content()
    for entry in coco["annotations"]:
        del entry["area"], entry["iscrowd"]
    (item, *_), *_ = (image.objects for image in read_coco("set", *coco_factory.write(tmp_path, coco)).images)
    assert (item.area, item.crowd) == (1200, False)


def change(section, key, value):
    def apply(coco):
        coco[section][1][key] = value

    return apply


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda coco: coco.pop("annotations"), "not in COCO format: Object missing required field `annotations`"),
        (lambda coco: coco.update(images={}), r"Expected `array`, got `object` - at `\$.images`"),
        (lambda coco: coco.update(categories=[]), "`categories` is empty"),
        (lambda coco: coco["images"].append("x"), r"Expected `object`, got `str` - at `\$.images\[3\]`"),
        (change("images", "id", 1), "images: item 1: id 1 is used twice"),
        (change("categories", "id", 1), "categories: item 1: id 1 is used twice"),
        (change("categories", "name", "circle"), "categories 1 and 2 are both named 'circle'"),
        (change("categories", "name", None), r"Expected `str`, got `null` - at `\$.categories\[1\].name`"),
        (change("categories", "name", "\ud800"), r"category 2: name '\\ud800' is empty or not of one line"),
        (change("categories", "name", "a <|image_pad|>"), r"category 2: name .* is a special token of the model"),
        (change("categories", "name", "two\nlines"), r"category 2: name 'two\\nlines' is empty or not of one line"),
        (change("categories", "name", "  "), "category 2: name '  ' is empty"),
        (change("annotations", "image_id", 7), "annotation 2: image_id 7 is not in `images`"),
        (change("annotations", "category_id", 9), "annotation 2: category_id 9 is not in `categories`"),
        (change("annotations", "bbox", [1, 2, 3]), r"`array` of length 4.* - at `\$.annotations\[1\].bbox`"),
        (change("annotations", "bbox", [1, 2, 3, float("nan")]), r"got `null` - at `\$.annotations\[1\].bbox\[3\]`"),
        (change("annotations", "bbox", [1, 2, float("inf"), 3]), r"got `null` - at `\$.annotations\[1\].bbox\[2\]`"),
        (change("annotations", "area", "big"), r"got `str` - at `\$.annotations\[1\].area`"),
        (change("images", "width", 10**300), "images"),
        (change("images", "file_name", "a\0.jpg"), "file_name 'a.x00.jpg' is not one line of text"),
        (change("annotations", "bbox", [1e308, 1, 1e308, 3]), "bbox"),
        (change("images", "id", 2**63), "images: item 1: id 9223372036854775808 is beyond 2"),
        (change("images", "id", "two"), r"Expected `int`, got `str` - at `\$.images\[1\].id`"),
        (change("images", "id", 2.5), r"Expected `int`, got `float` - at `\$.images\[1\].id`"),
        (change("annotations", "iscrowd", "maybe"), r"got `str` - at `\$.annotations\[1\].iscrowd`"),
        (
            lambda coco: coco["annotations"][1].pop("bbox"),
            r"annotation 2 of image 1 \('1.png'\) has neither a bbox nor pol",
        ),
        (
            change("annotations", "bbox", None),
            "has neither a bbox nor polygons; give it a box x y width height, or remove",
        ),
        (change("annotations", "bbox", []), "annotation 2 of image 1 .* has neither a bbox nor polygons"),
        (change("images", "height", -1), "image 2: a size of 84 x -1 pixels"),
        (change("images", "file_name", "gone.png"), "gone.png: no such image; .* lists it as image 2"),
        (change("images", "file_name", None), "image 2: no file_name"),
    ],
)
def test_one_clear_line_for_each_mistake(tmp_path, mistake, message):
    annotations, images = coco_factory.write(tmp_path)
    coco = coco_factory.content()
    mistake(coco)
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    with pytest.raises(UserError, match=message) as error:
        read_coco("set", annotations, images)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_missing_truncated_and_foreign_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_coco("set", tmp_path / "none.json")
    annotations, _ = coco_factory.write(tmp_path)
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match="cut off"):
        read_coco("set", annotations)
    (tmp_path / "annotations.json").write_text("[]")
    with pytest.raises(UserError, match="not in COCO format"):
        read_coco("set", annotations)


def test_unusual_names_are_kept_unchanged(tmp_path):
    names = ["a, b", 'say "x"', "👨‍👩‍👧", "it's", "</script>", "\u202eright to left"]
    dataset = read_coco("set", *coco_factory.write(tmp_path, coco_factory.content({1: []}, names)))
    assert list(dataset.categories.values()) == names


def test_an_empty_file_and_one_without_images(tmp_path):
    annotations, images = coco_factory.write(tmp_path, coco_factory.content({}))
    assert read_coco("set", annotations, images).images == ()
    latin = '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "caf\u00e9"}]}'.encode("latin-1")
    (tmp_path / "annotations.json").write_bytes(latin)
    with pytest.raises(UserError, match="not UTF-8 text .*; save it as UTF-8"):
        read_coco("set", annotations)
    (tmp_path / "annotations.json").write_text("")
    with pytest.raises(UserError, match="the file is empty; is the file cut off"):
        read_coco("set", annotations)


def test_images_need_not_exist_where_only_annotations_are_read(tmp_path):
    annotations, images = coco_factory.write(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    assert read_coco("set", annotations).images[0].path == ""
    with pytest.raises(UserError, match="no such image"):
        read_coco("set", annotations, images)


def test_a_name_given_twice_is_an_error(tmp_path):
    places = coco_factory.write(tmp_path)
    assert [dataset.name for dataset in read_all([("a", *places), ("b", places[0])])] == ["a", "b"]
    with pytest.raises(UserError, match="--dataset a: the name is given twice"):
        read_all([("a", *places), ("a", *places)])


def test_image_files_must_have_the_annotated_size(tmp_path):
    upright, turned, broken = (str(tmp_path / name) for name in ("upright.jpg", "turned.jpg", "broken.jpg"))
    Image.new("L", (60, 40)).save(upright)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(turned, exif=exif)
    (tmp_path / "broken.jpg").write_text("no image")
    check_images({upright: (60, 40), turned: (40, 60)})
    with pytest.raises(UserError, match="upright.jpg: 60 x 40 pixels, but its annotations are for 61 x 40"):
        check_images({upright: (61, 40)})
    with pytest.raises(UserError, match="broken.jpg: not a readable image"):
        check_images({broken: (60, 40)})
    cut = tmp_path / "cut.jpg"  # its header is intact
    cut.write_bytes((tmp_path / "upright.jpg").read_bytes()[:-20])
    with pytest.raises(UserError, match=r"cut.jpg: .* truncated .* \(1 more of 3 images can't be used\)"):
        check_images({upright: (60, 40), str(cut): (60, 40), broken: (60, 40)}, workers=2)


def test_reads_real_coco(coco_tiny):
    dataset = read_coco("val", coco_tiny / "annotations/instances_val2017.json", coco_tiny / "val2017")
    assert (len(dataset.images), len(dataset.categories)) == (80, 80)
    assert sum(item.crowd for image in dataset.images for item in image.objects) == 11
    check_images({image.path: (image.width, image.height) for image in dataset.images})


@pytest.mark.parametrize(
    "content",
    [
        {"version": "5.0.1", "shapes": [], "imagePath": "1.jpg"},  # labelme
        [{"image": "1.jpg", "annotations": []}],  # CreateML
        {"info": {}, "categories": {"label": {"labels": []}}, "items": []},  # Datumaro
    ],
)
def test_json_of_another_form_is_told_what_to_export(tmp_path, content):
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(
        UserError, match="other.json: not in COCO format: .*; if it is of another form .*, export as COCO,"
    ):
        read_coco("set", tmp_path / "other.json")
