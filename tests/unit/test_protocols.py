import json
from dataclasses import asdict, replace

import coco_factory
import pytest

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.answers import Sampling
from vision_r1.evaluation.protocols import PROMPTS, Protocol, Reading, read_entries, requests
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


def test_two_categories_of_one_name_are_refused(dataset):
    protocol = replace(Protocol("p", "per-category", 9, 1, 2), names={"set": {"circle": "square"}})
    with pytest.raises(UserError, match="set: two categories would be asked for as 'square'; fix the protocol's names"):
        requests(protocol, dataset)


def test_a_name_for_a_category_that_there_is_not(dataset):
    protocol = replace(Protocol("p", "per-category", 9, 1, 2), names={"set": {"cirle": "round"}})
    with pytest.raises(UserError, match="set: a protocol's names: no category 'cirle'; did you mean 'circle'"):
        requests(protocol, dataset)


def test_all_in_one_asks_once_per_image_for_all_categories(dataset):
    names = ("circle", "square", "triangle")
    assert asked(dataset, "all-in-one") == [(image, DEFAULT.ask("detection", names), names) for image in (1, 2, 3)]


def test_per_category_asks_about_each_image_for_each_category(dataset):
    names = ("circle", "square", "triangle")
    assert asked(dataset, "per-category") == [
        (i, DEFAULT.ask("grounding", [name]), (name,)) for i in (1, 2, 3) for name in names
    ]


def test_per_present_category_reveals_which_categories_are_present(dataset):
    there = [(1, "circle"), (1, "square"), (2, "triangle")]
    assert asked(dataset, "per-present-category") == [
        (i, DEFAULT.ask("grounding", [name]), (name,)) for i, name in there
    ]


def test_pixel_limits_are_the_protocols_or_else_the_models():
    entry = {"prompts": "all-in-one", "max_new_tokens": 5, "max_pixels": 9000}
    assert Protocol.of("p", entry, 784, 7056) == Protocol("p", "all-in-one", 5, 784, 9000)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "not a mapping"),
        ({"prompts": "each", "max_new_tokens": 5}, f"unknown prompts 'each'; choose {', '.join(PROMPTS)}"),
        ({"max_new_tokens": 5}, "unknown prompts None"),
        ({"prompts": "all-in-one"}, "max_new_tokens None is not a positive whole number"),
        ({"prompts": "all-in-one", "max_new_tokens": True}, "max_new_tokens True"),
        ({"prompts": "all-in-one", "max_new_tokens": 0}, "max_new_tokens 0"),
        (
            {"prompts": "all-in-one", "max_new_tokens": 5, "max_pixel": 7},
            "unknown key 'max_pixel'; did you mean 'max_pixels'",
        ),
        ({"prompts": "all-in-one", "max_new_tokens": 5, "max_pixels": 7}, "min_pixels 784 is above max_pixels 7"),
    ],
)
def test_each_mistake_is_reported_in_one_line(entry, message):
    with pytest.raises(UserError, match=f"^protocol p: .*{message}"):
        Protocol.of("p", entry, 784, 7056)


def test_protocols_are_given_as_json():
    text = json.dumps({"prompts": "per-category", "max_new_tokens": 5})
    assert list(read_entries([("a", text), ("b", text)])) == ["a", "b"]
    with pytest.raises(UserError, match="protocol a: the name is given twice"):
        read_entries([("a", text), ("a", text)])
    with pytest.raises(UserError, match="protocol a: not JSON"):
        read_entries([("a", "{prompts: x}")])


def test_a_recipes_prompts_names_and_sampling(dataset):
    words = asdict(replace(DEFAULT, detection="Where: {categories}?", quote="'", separator=" "))
    names = {"set": {"circle": "ring"}, "other": {"square": "no"}}
    entry = {"prompts": "all-in-one", "max_new_tokens": 5, "templates": words, "names": names}
    entry["sampling"] = {"temperature": 1, "top_p": 0.8, "top_k": 20, "presence_penalty": 1.5, "seed": 42}
    protocol = Protocol.of("p", entry, 784, 7056)
    first = requests(protocol, dataset)[0]
    assert (first.prompt, first.categories) == ("Where: 'ring' 'square' 'triangle'?", ("ring", "square", "triangle"))
    assert protocol.sampling == Sampling(1.0, 0.8, 20, 1.5, 42)
    present = Protocol.of("p", entry | {"prompts": "per-present-category"}, 784, 7056)
    assert [request.categories for request in requests(present, dataset)][:2] == [("ring",), ("square",)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repetition_penalty": 0}, "repetition_penalty 0 is not a number above 0; 1 is none"),
        ({"repetition_penalty": True}, "repetition_penalty True is not a number"),
        ({"names": [1]}, "names: .*; give data set -> category -> name"),
        ({"names": {"set": {"circle": 1}}}, "names: .*; give data set -> category -> name"),
        ({"sampling": {"temperature": 0, "top_p": 1, "top_k": 0, "presence_penalty": 0, "seed": 0}}, "is above 0"),
        (
            {"sampling": {"temperature": 1, "top_p": 1, "top_k": 0, "presence_penalty": 0, "seed": 0, "topp": 1}},
            "sampling: unknown key 'topp'",
        ),
        ({"sampling": {"temperature": 0.7}}, "protocol p: sampling: .*missing required field `top_p`"),
        ({"templates": {"rec": "x"}}, "templates: give system, detection"),
    ],
)
def test_a_wrong_part_of_a_recipe_is_named(change, message):
    with pytest.raises(UserError, match=message):
        Protocol.of("p", {"prompts": "all-in-one", "max_new_tokens": 5} | change, 784, 7056)


def test_a_reading_has_the_keys_about_scoring():
    entry = {"prompts": "all-in-one", "reader": "upstream_2026", "score": 1.0, "split": "test"}
    assert Reading.of("p", entry) == Reading("upstream_2026", 1.0)
    assert Reading.of("p", {}) == Reading("strict", 0.99)
    with pytest.raises(UserError, match="protocol p: names: .*; give data set -> category -> name"):
        Reading.of("p", {"names": [1]})
