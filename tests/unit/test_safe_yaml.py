"""The libyaml reader gives the same values as PyYAML's own parser, and only plain ones."""

import pytest
import yaml

from vision_r1 import safe_yaml
from vision_r1.files import UserError


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


@pytest.mark.parametrize("number", ["010", "-0777", "0_7", "1:30", "1:30.5"])
def test_a_number_that_is_not_decimal_is_an_error(number):
    with pytest.raises(yaml.YAMLError, match=f"{number} in line 2 is not a decimal number; write one, or put"):
        safe_yaml.load(f"a: 1\nb: [{number}]")
    assert safe_yaml.load(f"a: '{number}'\nb: {number} o'clock") == {"a": number, "b": f"{number} o'clock"}
    assert safe_yaml.load(f"a: {number}", as_written=True) == {"a": number}


def test_what_is_nested_too_deep_is_an_error(tmp_path):
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 20_000)
    with pytest.raises(UserError, match="deep.yaml: not valid YAML"):
        safe_yaml.read(tmp_path / "deep.yaml")


def test_a_key_may_override_what_an_anchor_gives():
    text = "a: { b: &B { x: 1, y: 2 }, c: &C { <<: *B, x: 3 } }\nd: { <<: *C }"
    assert safe_yaml.load(text) == yaml.safe_load(text)
    assert safe_yaml.load(text)["d"] == {"x": 3, "y": 2}


@pytest.mark.parametrize("text", ["a: [1", "a: 'x", "!!python/object/apply:os.getcwd []", "\tx: 1"])
def test_yaml_with_other_than_plain_values_is_an_error(text):
    with pytest.raises(yaml.YAMLError):
        safe_yaml.load(text)
