import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_factory import Run

from vision_r1.files import UserError, read_json, read_jsonl
from vision_r1.report.gallery import Objects, choose, gallery, quality

TRUTH = Objects(np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]]), ("circle", "square"))


def said(boxes, labels):
    return Objects(np.array(boxes, np.float64).reshape(-1, 4), tuple(labels))


NOTHING = said([], [])
KEYS = st.tuples(st.just("set"), st.integers())


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (TRUTH, TRUTH, 1.0),
        (NOTHING, NOTHING, 1.0),
        (NOTHING, TRUTH, 0.0),
        (TRUTH, NOTHING, 0.0),
        (said([[0, 0, 10, 10]], [" Circle"]), TRUTH, 1 / 2),
        (said([[0, 0, 10, 10]], ["square"]), TRUTH, 0.0),
        (said([[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 40, 40]], ["circle", "circle", "square"]), TRUTH, 2 / 3),
        (said([[0, 0, 10, 5], [20, 20, 40, 40]], ["circle", "square"]), TRUTH, 1.5 / 2),
    ],
)
def test_quality(predicted, truth, expected):
    assert quality(predicted, truth) == pytest.approx(expected)


@settings(deadline=None)
@given(
    st.dictionaries(st.tuples(st.just("set"), st.integers()), st.floats(-1, 1)), st.integers(0, 12), st.integers(0, 3)
)
def test_choice_follows_its_rule(change, count, seed):
    chosen = choose(change, count, seed)
    keys = [key for _, key in chosen]
    assert len(keys) == len(set(keys)) <= count
    assert all(change[key] > 0 for why, key in chosen if why == "most improved")
    assert all(change[key] < 0 for why, key in chosen if why == "most harmed")
    assert chosen == choose(dict(reversed(change.items())), count, seed)


def test_gallery_draws_ground_truth_and_each_checkpoint(tmp_path):
    run = Run(tmp_path)
    predictions = {name: read_jsonl(run.predictions(name)) for name in ("base", "sft", "strict/grpo_stage2")}
    examples = gallery(predictions, {"scenes_test": read_json(run.annotations)}, "official-coco", count=4)
    assert 1 <= len(examples) <= 4
    for example in examples:
        assert [view.title for view in example.views] == ["ground truth", *predictions]
        assert all(view.image.startswith("data:image/webp;base64,") for view in example.views)
        first, last = example.views[1].quality, example.views[-1].quality
        assert example.change == pytest.approx(last - first)


def test_gallery_names_what_is_missing(tmp_path):
    run = Run(tmp_path, images=3)
    predictions = {"base": read_jsonl(run.predictions("base"))}
    annotations = {"scenes_test": read_json(run.annotations)}
    with pytest.raises(UserError, match="--annotations scenes_test FILE"):
        gallery(predictions, {}, "official-coco")
    predictions["base"][0]["file_name"] = str(tmp_path / "gone.png")
    with pytest.raises(UserError, match=r"gone\.png: image can't be read"):
        gallery(predictions, annotations, "official-coco")
    assert gallery({}, annotations, "official-coco") == []
    assert gallery(predictions, annotations, "a protocol nobody ran") == []
