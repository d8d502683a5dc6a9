"""The stand-alone scorer: on real images, with files of other tools, and with every mistake that we know of."""

import contextlib
import io
import json
import logging

import coco_factory
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from score_predictions import main
from test_score_suite import line, right_answers

from vision_r1.files import UserError, read_json, write_json, write_jsonl
from vision_r1.prompts import format_answer

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.fixture
def score(tmp_path):
    def run(annotations, predictions, *options):
        path = predictions
        if not isinstance(predictions, str):
            path = str(tmp_path / "predictions.json")
            write_json(path, predictions)
        words = [
            "--annotations",
            str(annotations),
            "--predictions",
            path,
            "--output_metrics",
            str(tmp_path / "metrics.json"),
        ]
        main([*words, "--resamples", "50", *options])
        return read_json(tmp_path / "metrics.json")

    return run


@pytest.mark.parametrize("name", ["truth.json", "predictions.json"])
def test_an_input_is_not_overwritten(tmp_path, name):
    for each in ("truth.json", "predictions.json"):
        write_json(tmp_path / each, {})
    words = ["--annotations", tmp_path / "truth.json", "--predictions", tmp_path / "predictions.json"]
    with pytest.raises(UserError, match="--output_metrics .*json: would replace --(annotations|predictions)"):
        main([*map(str, words), "--output_metrics", str(tmp_path / name)])
    assert read_json(tmp_path / name) == {}


@pytest.fixture(scope="module")
def val(coco_tiny):
    return coco_tiny / "annotations/instances_val2017.json"


def results_of(annotations, shift=0, category=lambda own: own, score=0.99):
    """Return the ground truth as a detector's results, without crowd regions."""
    return [
        {
            "image_id": each["image_id"],
            "category_id": category(each["category_id"]),
            "bbox": [each["bbox"][0] + shift, *each["bbox"][1:]],
            "score": score,
        }
        for each in json.loads(annotations.read_text())["annotations"]
        if not each["iscrowd"]
    ]


def test_real_images_from_right_to_wrong(score, val):
    content = json.loads(val.read_text())
    known = {each["id"] for each in content["categories"]}
    here = {each["id"]: set() for each in content["images"]}
    for each in content["annotations"]:
        here[each["image_id"]].add(each["category_id"])
    perfect = score(val, results_of(val))
    assert (perfect["AP"], perfect["interval"]["AP"]) == (pytest.approx(1), pytest.approx([1, 1]))
    assert perfect["mean_iou"] == pytest.approx(1)
    assert {name: each["mean"]["F1"] for name, each in perfect["F1"].items()} == pytest.approx(
        dict.fromkeys(("micro", "macro", "rex_omni_categories", "rex_omni_images"), 1)
    )
    assert sum(each["count"] for each in perfect["errors"].values()) == 0
    assert score(val, [])["AP"] == 0
    wrong = [{**each, "category_id": min(known - here[each["image_id"]])} for each in results_of(val)]
    metrics = score(val, wrong)
    assert metrics["AP"] == 0 and metrics["errors"]["wrong_class"]["count"] == len(wrong)
    assert 0 < score(val, results_of(val, shift=5))["AP"] < 1


def test_the_twelve_numbers_are_pycocotools(score, val):
    rng = np.random.default_rng(1)
    results = [
        {**each, "bbox": np.abs(np.array(each["bbox"]) + rng.normal(0, 5, 4)).tolist(), "score": float(rng.random())}
        for each in results_of(val)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(val))
        evaluation = COCOeval(truth, truth.loadRes([dict(each) for each in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = score(val, results)
    assert list(metrics)[:12] == NAMES
    assert [metrics[name] for name in NAMES] == pytest.approx(evaluation.stats.tolist(), abs=1e-12)
    low, high = metrics["interval"]["AP"]
    assert low < metrics["AP"] < high
    assert sum(each["ground_truth"] for each in metrics["slices"]["size"].values()) == len(results)
    for by in ("objects", "aspect_ratio"):
        parts = metrics["slices"][by].values()
        assert sum(each["images"] for each in parts) == 80
        assert sum(each["predictions"] for each in parts) == metrics["counts"]["predictions"]


def test_predictions_with_text(score, tmp_path):
    """One file gives everything: answers, three score policies, and both parsers."""
    annotations = coco_factory.write(tmp_path)[0]
    twice = format_answer([(20, 20, 80, 60), (20, 20, 80, 60)], ["circle", "circle"])
    back = '[{"bbox_2d": [80, 60, 20, 20], "label": "circle"}]'
    path = tmp_path / "p.jsonl"
    write_jsonl(path, [line(1, twice), line(2, "[", truncated=True), line(3, back)])
    metrics = score(annotations, str(path))
    assert metrics["answers"] == {
        **{"parse_rate": pytest.approx(1 / 3), "truncation_rate": pytest.approx(1 / 3), "duplicate_rate": 0.5},
        **{"boxes_per_image": pytest.approx(2 / 3), "verdicts": {"fenced": 1, "inverted": 1, "truncated": 1}},
    }
    assert metrics["AP50"] == pytest.approx(1 / 3) and metrics["errors"]["duplicate"]["count"] == 1
    assert {key: each["AP50"] for key, each in metrics["score_policies"].items()} == pytest.approx(
        {"constant": 1 / 3, "order": 1 / 3, "token-probability": 1 / 3}
    )
    released_2025 = score(annotations, str(path), "--reader", "released_2025")
    assert (metrics["counts"]["predictions"], released_2025["counts"]["predictions"]) == (2, 3)


def test_prints_what_tied_scores_mean_for_ap_and_f1(score, val, caplog):
    caplog.set_level(logging.INFO)
    metrics = score(val, results_of(val, shift=5))
    ties = metrics["score_policies"]["given"]["ties"]
    printed = caplog.messages[1:]
    points = {key: f"{100 * ties['AP'][key]:.2f}" for key in ("expected", "low", "high")}
    assert printed[0] == (
        f"AP   {100 * metrics['AP']:.2f} by pycocotools (scores: given); {points['expected']} expected over orders of "
        f"equal scores, {points['low']} to {points['high']} in 1,000 of them"
    )
    micro = [f"{100 * metrics['F1']['micro'][key]['F1']:.2f}" for key in ("0.50", "0.95", "mean")]
    assert printed[3] == f"F1   {micro[0]} at 0.50, {micro[1]} at 0.95, mean {micro[2]} (micro)"
    assert len(printed) == 3 + 4


def test_score_policies_change_the_ranking(score, tmp_path):
    """The wrong box comes first and has a low probability: only the tokens' probabilities rank it last."""
    annotations = coco_factory.write(tmp_path, coco_factory.content({1: [(1, [10, 20, 30, 40])], 2: []}))[0]
    text = format_answer([(100, 0, 120, 20), (20, 20, 80, 60)], ["circle", "circle"])
    middle = text.index("}") + 1
    path = tmp_path / "p.jsonl"
    write_jsonl(path, [line(1, text, tokens=[[0, -3.0], [middle, -0.1]])])
    metrics = score(annotations, str(path), "--score_policy", "token-probability")
    by_policy = {name: each["AP50"] for name, each in metrics["score_policies"].items()}
    assert by_policy == pytest.approx({"constant": 0.5, "order": 0.5, "token-probability": 1})
    assert metrics["AP50"] == pytest.approx(1) and metrics["score_policy"] == "token-probability"


def test_empty_answers_have_ap_0_but_an_empty_file_is_an_error(score, tmp_path):
    annotations = coco_factory.write(tmp_path)[0]
    assert score(annotations, [])["AP"] == 0
    write_jsonl(tmp_path / "silent.jsonl", [line(3, "[]")])
    metrics = score(annotations, str(tmp_path / "silent.jsonl"))
    assert metrics["AP"] == 0 and metrics["counts"]["unanswered"] == 2
    for content in ("", " \n"):
        (tmp_path / "empty.jsonl").write_text(content)
        with pytest.raises(UserError, match="empty.jsonl: the file is empty"):
            score(annotations, str(tmp_path / "empty.jsonl"))


def test_protocols_and_data_sets_never_mix(score, tmp_path):
    annotations = coco_factory.write(tmp_path)[0]
    path = tmp_path / "p.jsonl"
    lines = right_answers(annotations)
    write_jsonl(path, [*lines, *({**each, "protocol": "other", "completion": "[]"} for each in lines)])
    with pytest.raises(UserError, match="has protocol all, other; choose one with --protocol"):
        score(annotations, str(path))
    assert score(annotations, str(path), "--protocol", "all")["AP"] == pytest.approx(1)
    assert score(annotations, str(path), "--protocol", "other")["AP"] == 0
    with pytest.raises(UserError, match="has dataset set; choose one with --dataset"):
        score(annotations, str(path), "--dataset", "else")


GOOD = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([GOOD, {**GOOD, "image_id": 9}], "item 1: image_id 9 is not in .*annotations.json"),
        ([{**GOOD, "category_id": "one"}], "item 0: category_id 'one' is not in .*annotations.json"),
        ([{**GOOD, "image_id": 2**64}], "item 0: image_id 18446744073709551616 is not in .*annotations.json"),
        ([{**GOOD, "image_id": True}], "item 0: image_id True is not in .*annotations.json"),
        ([{**GOOD, "bbox": [1, 2, 3]}], r"item 0: bbox \[1, 2, 3\] is not four numbers below 1e\+12"),
        ([{**GOOD, "bbox": [0, 0, 1e200, 1e200]}], r"1e\+200\] is not four numbers below 1e\+12"),
        ([{**GOOD, "score": True}], "score True is not a number"),
        ([{"image_id": 1}], "item 0: no field 'bbox'"),
        ({"predictions": [GOOD]}, "neither COCO results .*: has predictions"),
        ([[1]], "item 0: not an object"),
    ],
)
def test_one_clear_line_for_each_mistake(score, tmp_path, results, message):
    with pytest.raises(UserError, match=message):
        score(coco_factory.write(tmp_path)[0], results)
    assert not (tmp_path / "metrics.json").exists()


def test_files_that_are_cut_or_not_there(score, tmp_path):
    annotations = coco_factory.write(tmp_path)[0]
    path = tmp_path / "p.jsonl"
    write_jsonl(path, right_answers(annotations))
    path.write_text(path.read_text()[:-20])
    with pytest.raises(UserError, match="p.jsonl: line 3: not valid JSON"):
        score(annotations, str(path))
    with pytest.raises(UserError, match="none.json: no such file"):
        score(annotations, str(tmp_path / "none.json"))
    without = coco_factory.content()
    without["categories"] = []
    with pytest.raises(UserError, match="`categories` is empty"):
        score(coco_factory.write(tmp_path / "without", without)[0], [])
