from vision_r1.report.reasons import UNDEFINED, reason_sheets, reasons
from vision_r1.report.sheets import shown, write_sheet


def scores(*sets):
    return {"protocols": {"p": {"datasets": {str(number): values for number, values in enumerate(sets)}}}}


def test_a_mean_is_over_the_data_sets_that_have_a_number():
    first = {"errors": {"missed": {"count": 2, "cost": 0.1}}, "slices": {"size": {"small": {"AP": 0.4}}}}
    second = {"errors": {"missed": {"count": 3, "cost": None}}, "slices": {"size": {"small": {"AP": 0.2}}}}
    (found,) = reasons({("base", "coco"): scores(first, second)}, ["base"], [("coco", "p")])
    assert found.errors["missed"] == (5, 0.1) and found.errors["both"] == (None, None)
    assert round(found.sizes["small"], 3) == 0.3 and found.sizes["large"] is None


def test_a_cost_that_is_undefined_is_a_dash_and_one_that_was_not_measured_is_missing(tmp_path):
    """Where nothing was found, all objects are missed, and without them there is no AP50."""
    nothing = {"errors": {"missed": {"count": 41, "cost": None}}}
    found = reasons({("base", "coco"): scores(nothing)}, ["base", "sft"], [("coco", "p")])
    costs, counts, slices = reason_sheets(found)
    assert [line[3] for line in costs.lines] == [UNDEFINED, None] and [line[3] for line in counts.lines] == [41, None]
    assert [line[3] for line in slices.lines] == [UNDEFINED, None]  # no data set has small objects
    assert shown(UNDEFINED) == "–" and "A dash: undefined" in costs.caption
    write_sheet(tmp_path, costs)
    assert (tmp_path / "errors.csv").read_text().splitlines()[1] == "base,coco,p,,,,,,"  # no number, as before


def test_what_was_not_scored_is_none():
    (found,) = reasons({}, ["base"], [("coco", "p")])
    assert set(found.errors.values()) == {(None, None)} and set(found.sizes.values()) == {None} and not found.objects
