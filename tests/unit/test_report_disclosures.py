"""How coarse a base model's labels were is told from what it was trained on, in every configuration."""

import pytest
from configurations import load

from vision_r1.experiments import merge
from vision_r1.report.disclosures import coarse_labels, disclosures


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "miniature",
            "200 steps on coarse labels, on purpose (edges of boxes 8 % of the side too far out, 5 % jitter, ",
        ),
        ("midi", "after 1,800 steps on exact ones"),
        ("midi_exact", None),
        ("apples", None),
        ("paper", None),
    ],
)
def test_coarse_labels_are_those_of_the_configuration(root, name, words):
    config = load(root, name)
    told = coarse_labels(config)
    assert told is None if words is None else words in told
    assert disclosures(config) == [*([told] if told else []), *config["report"]["disclosures"]]
    assert "coarse" not in " ".join(config["report"]["disclosures"])


def test_only_what_is_coarse_is_told(root):
    config = merge(load(root, "miniature"), {"base": {"grow": 0.0, "jitter": 0.0}})
    assert "on purpose (30 % of objects unlabelled), after" in coarse_labels(config)


def test_nothing_is_said_of_the_boxes_of_other_data(root):
    config = load(root, "miniature")
    assert "GRPO corrects a bias" in coarse_labels(config)
    assert coarse_labels(merge(config, {"data": {"train": ["mine"]}, "datasets": {"mine": {}}})).endswith(
        "steps on exact ones."
    )
