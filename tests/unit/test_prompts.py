import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from vision_r1.files import UserError
from vision_r1.prompts import DEFAULT, Templates

ROOT = Path(__file__).parents[2]


def test_the_default_is_the_configurations():
    section = yaml.safe_load((ROOT / "config/config.yaml").read_text())["templates"]
    assert Templates.of(section) == Templates.of(json.dumps(section)) == DEFAULT


def test_prompts_of_each_task():
    assert DEFAULT.ask("detection", ["cup", "traffic light"]).endswith("The category set includes cup, traffic light.")
    for task in ("grounding", "negative", "rec"):
        assert DEFAULT.ask(task, ["{categories}"]).startswith("Locate every {categories} in the image")
    quoted = replace(DEFAULT, detection="Find {categories}!", rec="Where is {phrase}?", quote="'", separator="; ")
    assert quoted.ask("detection", ["cup", "o "]) == "Find 'cup'; 'o '!"
    assert quoted.ask("rec", ["the man"]) == "Where is the man?"


def test_answers_in_the_released_codes_format():
    boxes, labels = [[10.6, 20.2, 30.5, 40.9], [1, 2, 3, 4]], ["dog", 'a "b"']
    assert DEFAULT.answer(boxes, labels) == (
        '```json\n[{"bbox_2d": [11, 20, 30, 41], "label": "dog"}, {"bbox_2d": [1, 2, 3, 4], "label": "a \\"b\\""}]\n```'
    )
    released = replace(DEFAULT, layout="lines", rounding="down")
    assert released.answer(boxes, labels) == (
        '```json\n[\n\t{"bbox_2d": [10, 20, 30, 40], "label": "dog"},\n'
        '\t{"bbox_2d": [1, 2, 3, 4], "label": "a \\"b\\""}\n]\n```'
    )
    assert DEFAULT.answer([], []) == released.answer([], []) == "```json\n[]\n```"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detection": "Find all"}, "templates.detection: 'Find all' has no {categories}"),
        ({"rec": "Where?"}, "templates.rec: 'Where?' has no {phrase}"),
        ({"layout": "table"}, "templates.layout: unknown 'table'; choose one-line or lines"),
        ({"rounding": "up"}, "templates.rounding: unknown 'up'; choose nearest or down"),
        ({"quote": None}, "templates.quote: None is not text"),
        ({"extra": 1}, "missing or unknown: 'extra'"),
    ],
)
def test_a_wrong_template_is_named(change, message):
    with pytest.raises(UserError) as error:
        Templates.of(asdict(DEFAULT) | change)
    assert message in str(error.value)


@pytest.mark.parametrize("entry", ["{", "[]", {"system": None}])
def test_a_value_that_is_not_a_section_is_refused(entry):
    with pytest.raises(UserError, match="templates: "):
        Templates.of(entry)
