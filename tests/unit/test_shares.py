"""Section data: numbers split by source, groups, substitutes, and one-line errors."""

import pytest

from vision_r1.data import mixture
from vision_r1.data.mixture import Draw
from vision_r1.files import UserError


def config(datasets=None, experiments=None, **data):
    own = {name: {"images": name} for name in ("one", "two", "three")}
    own |= {"pair": {"parts": ["two", "three"]}, "absent": {"images": None, "substitute": "pair"}}
    values = {"train": ["one"], "detection": 5, "grounding": 0, "rec": 0, "negative": 0, "keep_out": []}
    sections = {
        "reward": {"criterion": "strict"},
        "data": values | data,
        "datasets": own | (datasets or {}),
        "experiments": experiments or {},
    }
    lists = {"report": {"experiments": list(sections["experiments"])}, "ablations": {"experiments": []}}
    return sections | lists | {"grpo": {}, "grpo_stage1": {}, "grpo_stage2": {}}


def test_a_plain_number_is_drawn_from_all_sources_of_train():
    plain = config(train=["one", "two"], grounding=3)
    assert mixture.draws_of(plain) == [Draw("detection", 5), Draw("grounding", 3)]
    assert mixture.training_sources(plain) == ["one", "two"] and mixture.samples_asked_for(plain) == 8
    assert mixture.training_sources(config(train=["pair", "one"])) == ["two", "three", "one"]


def test_a_mapping_splits_a_number_and_a_group_means_its_parts():
    split = config(grounding={"pair": 3, "one": 2}, rec={"two": 0, "one": 1})
    assert mixture.draws_of(split) == [
        Draw("detection", 5, ("one",)),
        Draw("grounding", 3, ("two", "three")),
        Draw("grounding", 2, ("one",)),
        Draw("rec", 1, ("one",)),
    ]
    assert mixture.training_sources(split) == ["one", "two", "three"]
    assert mixture.training_sources(config(rec={"two": 0})) == ["one"]  # unused sources are not fetched
    assert mixture.samples_asked_for(split) == 11


def test_the_share_of_a_source_without_images_goes_to_its_substitute_with_a_note():
    split = config(grounding={"pair": 3, "absent": 4})
    assert mixture.draws_of(split)[1:] == [Draw("grounding", 7, ("two", "three"))]
    assert mixture.substitutions(split) == [
        "absent has no image folder (datasets.absent.images): its 4 grounding samples are drawn from pair."
    ]
    here = config({"absent": {"images": "folder", "substitute": "pair"}}, grounding={"pair": 3, "absent": 4})
    assert mixture.draws_of(here)[1:] == [
        Draw("grounding", 3, ("two", "three")),
        Draw("grounding", 4, ("absent",)),
    ]
    assert mixture.substitutions(here) == mixture.substitutions(config(grounding={"absent": 0})) == []
    mixture.check(split)
    mixture.check(here)


def test_an_experiment_that_is_not_run_may_name_a_disabled_source():
    switched = config(experiments={"more": {"data": {"rec": {"two": 1}}}})
    switched["report"]["experiments"] = []
    mixture.check(switched)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (config(train=["four"]), "data.train: 'four' is not a data set of section datasets; known: absent, one"),
        (config(train=["absent"]), "data.train: datasets.absent.images is null; name the folder with its images"),
        (config(rec={"four": 1}), "data.rec: 'four' is not a data set"),
        (config(keep_out=["four"]), "data.keep_out: 'four' is not a data set"),
        (config(keep_out=["pair"], rec={"three": 1}), "data.keep_out: 'three' is trained on"),
        (config({"group": {"parts": ["pair"]}}), "datasets.group.parts: 'pair' is a group itself; name its parts"),
        (config({"group": {"parts": ["four"]}}), "datasets.group.parts: 'four' is not a data set"),
        (config({"group": {"parts": ["absent"]}}), "datasets.group.parts: datasets.absent.images is null"),
        (config({"lost": {"images": None}}), "datasets.lost.substitute: '' is not a data set"),
        (
            config({"lost": {"images": None, "substitute": "absent"}}),
            "datasets.lost.substitute: datasets.absent.images",
        ),
        (config(experiments={"more": {"data": {"rec": {"two": 1}}}}), "experiments.more.data: 'two' is not a source"),
        (config(experiments={"more": {"data": {"rec": {"four": 1}}}}), "experiments.more.data.rec: 'four' is not a"),
    ],
)
def test_errors_are_one_line(changed, message):
    with pytest.raises(UserError, match=message):
        mixture.check(changed)
