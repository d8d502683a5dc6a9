"""A wrong value in the configuration is reported in plain English."""

import re

import pytest

from vision_r1 import configuration
from vision_r1.experiments import merge
from vision_r1.files import UserError
from vision_r1.schema_errors import PATTERNS
from vision_r1.text import did_you_mean

DATASET = {"images": "b", "annotations": "a"}


def keywords(schema):
    """Yield (keyword, value) for all rules in a schema."""
    for key, value in schema.items() if isinstance(schema, dict) else enumerate(schema):
        yield key, value
        if isinstance(value, (dict, list)):
            yield from keywords(value)


def test_every_pattern_has_an_explanation(schema):
    assert {value for key, value in keywords(schema) if key == "pattern" and isinstance(value, str)} == PATTERNS.keys()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"run": "my run"}, "run: 'my run': lower-case letters, digits and _ only"),
        ({"run": "downloads"}, "run: 'downloads' is not allowed; the name is taken"),
        ({"seed": -1}, "seed: -1 is too small; give at least 0"),
        ({"seed": 50000}, "seed: 50000 is too large; give at most 40000"),
        ({"seed": 1.5}, "seed: 1.5 is not a whole number"),
        ({"seed": "x"}, "seed: 'x' is text, not a whole number"),
        ({"freeze_code": "true"}, "freeze_code: 'true' is text, not true or false; after --config Snakemake reads"),
        ({"lora": "null"}, "lora: 'null' is text, not a section of keys or null; after --config Snakemake reads"),
        ({"freeze_code": None}, "freeze_code: null is not true or false"),
        ({"sft": {"learning_rate": 0}}, "sft.learning_rate: 0 is too small; give more than 0"),
        ({"sft": {"adam_beta2": 1}}, "sft.adam_beta2: 1 is too large; give less than 1"),
        ({"base": {"head_size": 20}}, "base.head_size: 20 is not a multiple of 16"),
        ({"report": {"experiments": []}}, "report.experiments: the list has 0 entries; give at least 1"),
        ({"report": {"suites": ["shapes"] * 2}}, "report.suites: 'shapes' is in the list twice"),
        (
            {"evaluation": {"backend": "vlm"}},
            "evaluation.backend: 'vlm' is not one of transformers, vllm; did you mean 'vllm'?",
        ),
        ({"compute": {"train_sft": 4}}, "compute.train_sft: 4 is not a section of keys"),
        ({"lora": {"r": 4}}, "lora: missing: alpha, dropout, target_modules"),
        ({"datasets": {"mine": {"split": "x"}}}, "datasets.mine: give one of these, and only one: scenes; annotations"),
        ({"datasets": {"my set": DATASET}}, "datasets: 'my set': lower-case letters, digits and _ only"),
        (
            {"datasets": {"mine": {**DATASET, "imagse": "c"}}},
            "datasets.mine: unknown key 'imagse'; did you mean 'images'?",
        ),
        ({"evaluation": {"protocols": {"one prompt": {}}}}, "'one prompt': lower-case letters, digits and - only"),
        ({"report": {"experiments": ["strct"]}}, "config/experiments.yaml; did you mean 'strict'?"),
        ({"data": {"train": ["scenes_trian"]}}, "section datasets; did you mean 'scenes_train'?"),
    ],
)
def test_errors_in_plain_english(default, schema, values, message):
    with pytest.raises(UserError) as caught:
        configuration.check(merge(default, values), schema)
    assert message in str(caught.value)


def test_no_text_of_the_validator_is_left(default, schema):
    """Whatever replaces a value, the message has no regular expression and no phrase of jsonschema."""
    small = default | {"experiments": {}, "datasets": {}, "archives": {}}  # so only the schema is tested
    phrases = re.compile(r"does not match|is not of type|minimum of|non-empty|given schemas|\^\[|required property")
    for section, values in default.items():
        for key in values if isinstance(values, dict) else ():
            for value in ("A b!", {"A b!": -(10**9)}):
                try:
                    configuration.check({**small, section: {**values, key: value}}, schema)
                except UserError as error:
                    assert not phrases.search(str(error)), error


def test_did_you_mean():
    assert did_you_mean("strct", ["strict", "paper"]) == "; did you mean 'strict'?"
    assert did_you_mean("unlike", ["strict", "paper"]) == "; known: strict, paper"
