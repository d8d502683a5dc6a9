"""The libyaml reader gives the same values as PyYAML's own parser, and only plain ones."""

import pytest
import yaml

from vision_r1 import safe_yaml


def test_every_shipped_file_is_read_the_same(root):
    files = [*root.glob("config/**/*.yaml"), *root.glob("tests/*.yaml"), *root.glob("profiles/*/*.yaml")]
    assert len(files) > 20
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert safe_yaml.load(text) == yaml.safe_load(text), file


@pytest.mark.parametrize(
    ("text", "lines"),
    [("a: {b: 1}\nc: 2\na: {d: 3}", "1 and 3"), ("a: { b: 1, b: 2 }", "1 and 1"), ("1: a\n1: b", "1 and 2")],
)
def test_a_key_given_twice_is_an_error(text, lines):
    with pytest.raises(yaml.YAMLError, match=f"is given twice, in lines {lines}; merge them"):
        safe_yaml.load(text)


def test_a_key_may_override_what_an_anchor_gives():
    text = "a: { b: &B { x: 1, y: 2 }, c: &C { <<: *B, x: 3 } }\nd: { <<: *C }"
    assert safe_yaml.load(text) == yaml.safe_load(text)
    assert safe_yaml.load(text)["d"] == {"x": 3, "y": 2}


@pytest.mark.parametrize("text", ["a: [1", "a: 'x", "!!python/object/apply:os.getcwd []", "\tx: 1"])
def test_yaml_with_other_than_plain_values_is_an_error(text):
    with pytest.raises(yaml.YAMLError):
        safe_yaml.load(text)
