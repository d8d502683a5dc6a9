from vision_r1.report.reasons import reasons


def scores(*sets):
    return {"protocols": {"p": {"datasets": {str(number): values for number, values in enumerate(sets)}}}}


def test_a_mean_is_over_the_data_sets_that_have_a_number():
    first = {"errors": {"missed": {"count": 2, "cost": 0.1}}, "slices": {"size": {"small": {"AP": 0.4}}}}
    second = {"errors": {"missed": {"count": 3, "cost": None}}, "slices": {"size": {"small": {"AP": 0.2}}}}
    (found,) = reasons({("base", "coco"): scores(first, second)}, ["base"], [("coco", "p")], ["missed", "both"])
    assert found.errors == {"missed": (5, 0.1), "both": (None, None)}
    assert round(found.sizes["small"], 3) == 0.3 and found.sizes["large"] is None


def test_what_was_not_scored_is_none():
    (found,) = reasons({}, ["base"], [("coco", "p")], ["missed"])
    assert found.errors == {"missed": (None, None)} and set(found.sizes.values()) == {None} and not found.objects
