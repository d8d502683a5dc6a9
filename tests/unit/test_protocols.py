import json

import coco_factory
import pytest

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.protocols import PROMPTS, Protocol, read_entries, requests
from vision_r1.files import UserError
from vision_r1.prompts import DEFAULT


@pytest.fixture
def dataset(tmp_path):
    return read_coco("set", coco_factory.write(tmp_path)[0])


def asked(dataset, prompts):
    return [
        (request.image.id, request.prompt, request.categories)
        for request in requests(Protocol("p", prompts, 9, 1, 2), dataset)
    ]


def test_all_in_one_asks_each_image_once_for_everything(dataset):
    names = ("circle", "square", "triangle")
    assert asked(dataset, "all-in-one") == [(image, DEFAULT.ask("detection", names), names) for image in (1, 2, 3)]


def test_per_category_asks_each_image_for_each_category(dataset):
    names = ("circle", "square", "triangle")
    assert asked(dataset, "per-category") == [
        (i, DEFAULT.ask("grounding", [name]), (name,)) for i in (1, 2, 3) for name in names
    ]


def test_per_present_category_tells_what_is_there(dataset):
    there = [(1, "circle"), (1, "square"), (2, "triangle")]
    assert asked(dataset, "per-present-category") == [
        (i, DEFAULT.ask("grounding", [name]), (name,)) for i, name in there
    ]


def test_pixel_limits_are_the_protocol_s_own_or_the_model_s():
    entry = {"prompts": "all-in-one", "max_new_tokens": 5, "max_pixels": 9000}
    assert Protocol.of("p", entry, 784, 7056) == Protocol("p", "all-in-one", 5, 784, 9000)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "no mapping"),
        ({"prompts": "each", "max_new_tokens": 5}, f"unknown prompts 'each'; choose {', '.join(PROMPTS)}"),
        ({"max_new_tokens": 5}, "unknown prompts None"),
        ({"prompts": "all-in-one"}, "max_new_tokens None is not a positive whole number"),
        ({"prompts": "all-in-one", "max_new_tokens": True}, "max_new_tokens True"),
        ({"prompts": "all-in-one", "max_new_tokens": 0}, "max_new_tokens 0"),
        ({"prompts": "all-in-one", "max_new_tokens": 5, "max_pixel": 7}, "unknown key 'max_pixel'; known: max_new"),
        ({"prompts": "all-in-one", "max_new_tokens": 5, "max_pixels": 7}, "min_pixels 784 is above max_pixels 7"),
    ],
)
def test_one_clear_line_for_each_mistake(entry, message):
    with pytest.raises(UserError, match=f"^protocol p: .*{message}"):
        Protocol.of("p", entry, 784, 7056)


def test_protocols_come_as_json():
    text = json.dumps({"prompts": "per-category", "max_new_tokens": 5})
    assert list(read_entries([("a", text), ("b", text)])) == ["a", "b"]
    with pytest.raises(UserError, match="protocol a: the name is given twice"):
        read_entries([("a", text), ("a", text)])
    with pytest.raises(UserError, match="protocol a: not JSON"):
        read_entries([("a", "{prompts: x}")])
