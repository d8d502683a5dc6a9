import json
import subprocess
import sys
from pathlib import Path

import coco_factory
import numpy as np
import pytest
import score_suite
from score_suite import main

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.predictions import label_reader
from vision_r1.evaluation.protocols import Protocol, requests
from vision_r1.files import UserError, read_json, write_jsonl
from vision_r1.prompts import format_answer


def line(image_id, completion, dataset="set", protocol="all", **changes):
    sizes = {"width": 84, "height": 84, "input_width": 168, "input_height": 84, "frame": "pixel"}
    names = ["circle", "square", "triangle"]
    about = {"dataset": dataset, "protocol": protocol, "image_id": image_id, "categories": names, **sizes}
    return {**about, "completion": completion, "truncated": False, **changes}


def right_answers(annotations):
    """Right answers in the model's frame, which is twice as wide as the images."""
    return [
        line(
            image.id,
            format_answer([(2 * x1, y1, 2 * x2, y2) for x1, y1, x2, y2 in (item.corners for item in image.objects)],
                          [f" {item.label.upper()}" for item in image.objects]),
        )
        for image in read_coco("set", annotations).images
    ]  # fmt: skip


@pytest.fixture
def annotations(tmp_path):
    return coco_factory.write(tmp_path)[0]


@pytest.fixture
def score(tmp_path, annotations):
    def run(lines, names=("set",), *options):
        write_jsonl(tmp_path / "p.jsonl", lines)
        places = [word for name in names for word in ("--dataset", name, annotations)]
        protocols = ["--protocol", "all", "{}", "--protocol", "some", '{"reader": "released_2025"}']
        outputs = [
            "--output_metrics",
            str(tmp_path / "m.json"),
            "--output_resamples",
            str(tmp_path / "m.resamples.npz"),
        ]
        words = ["--suite", "coco", *places, *protocols, "--predictions", str(tmp_path / "p.jsonl"), *outputs]
        main([*words, "--resamples", "20", *options])
        return read_json(tmp_path / "m.json")

    return run


def test_right_answers_have_ap_1(score, annotations, tmp_path):
    metrics = score(right_answers(annotations))
    assert (metrics["suite"], metrics["score_policy"]) == ("coco", "constant")
    scores = metrics["protocols"]["all"]
    assert scores["mean"] == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1}) and scores["incomplete"] == []
    values = scores["datasets"]["set"]
    assert values["per_category"] == pytest.approx({"circle": 1, "square": 1, "triangle": 1})
    assert values["counts"] == {
        **{"images": 3, "ground_truth": 3, "ground_truth_without_area": 0, "predictions": 3, "prompts": 3},
        **{"truncated": 0, "unknown_labels": 0, "unanswered": 0},
    }
    assert values["answers"]["verdicts"] == {"fenced": 3}
    assert scores["precision_recall"] == {"0.50": [1] * 101, "0.75": [1] * 101}
    assert "precision_recall" not in values
    assert scores["mean_interval"]["AP"] == pytest.approx([1, 1])
    assert set(np.load(tmp_path / "m.resamples.npz")) == {"all/AP/set", "all/AP50/set", "all/AP75/set"}


def test_bad_answers_are_counted_and_not_fatal(score):
    unknown = format_answer([(0, 0, 20, 20)], ["dragon"])
    metrics = score([line(1, "I see nothing", truncated=True), line(2, unknown), line(3, "")])
    values = metrics["protocols"]["all"]["datasets"]["set"]
    assert values["AP"] == 0
    counts = {key: values["counts"][key] for key in ("predictions", "unknown_labels", "truncated")}
    assert counts == {"predictions": 0, "unknown_labels": 1, "truncated": 1}
    assert values["answers"]["verdicts"] == {"not_json": 2, "unknown_label": 1}


def test_a_set_with_an_object_that_nobody_asked_for_is_incomplete(score, annotations):
    names = ("circle", "square", "triangle")
    lines = [{**each, "categories": [name]} for each in right_answers(annotations) for name in names]
    lines = [each | {"completion": "[]"} for each in lines]
    assert score(lines)["protocols"]["all"]["incomplete"] == []
    shown = {item.label for image in read_coco("set", annotations).images[:1] for item in image.objects}
    some = [each for each in lines if each["image_id"] != 1 or not shown & {*each["categories"]}]
    scores = score(some)["protocols"]["all"]
    assert scores["incomplete"] == ["set"] and scores["datasets"]["set"]["counts"]["unanswered"] == 1


def test_protocols_are_scored_separately_and_incomplete_ones_have_no_mean(score, annotations, caplog):
    lines = right_answers(annotations)
    some = [{**each, "protocol": "some"} for each in lines[1:]]
    metrics = score([*lines, *({**each, "dataset": "other"} for each in lines), *some], ("set", "other"))["protocols"]
    assert metrics["all"]["mean"]["AP"] == pytest.approx(1)
    assert metrics["some"]["mean"] is None
    assert metrics["some"]["incomplete"] == ["set", "other"]
    assert "some: no mean: incomplete data sets: set, other" in caplog.text
    assert list(metrics["some"]["datasets"]) == ["set"]


def test_policies_and_f1_have_means_too(score, annotations):
    half = [line(1, "[]"), *right_answers(annotations)[1:]]
    lines = [*right_answers(annotations), *({**each, "dataset": "other"} for each in half)]
    scores = score(lines, ("set", "other"))["protocols"]["all"]
    policies = scores["mean_score_policies"]
    assert {key: policies["constant"][key] for key in ("AP", "AP50", "AP75", "AR100")} == pytest.approx(
        dict.fromkeys(("AP", "AP50", "AP75", "AR100"), 2 / 3)
    )
    assert policies["order"]["ties"]["AP"] == pytest.approx(dict.fromkeys(("expected", "low", "high"), 2 / 3))
    assert policies["order"]["AR100"] == pytest.approx(2 / 3)  # counted by hand
    # The other set: 1 of 3 objects found, and no false box.
    assert scores["mean_F1"]["micro"]["0.95"] == pytest.approx({"precision": 1, "recall": 2 / 3, "F1": 3 / 4})


LETTERS = ("o", "o ", "Q", "q", "t\\")


@pytest.mark.parametrize("reader", ["strict", "released_2025", "upstream_2026"])
def test_names_that_differ_in_spaces_case_or_a_backslash(tmp_path, reader):
    """ODinW's boggleBoards: "o" and "o ", "Q" and "q" are different dice."""
    boxes = {1: [(number, [8 * number, 8, 6, 20]) for number in range(1, 6)]}
    annotations = coco_factory.write(tmp_path, coco_factory.content(boxes, LETTERS))[0]
    dataset = read_coco("set", annotations)
    limits = {"max_new_tokens": 9, "min_pixels": 1, "max_pixels": 9}
    for prompts in ("all-in-one", "per-present-category"):
        asked = requests(Protocol.of("some", {"prompts": prompts, **limits}, 1, 9), dataset)
        assert [name for each in asked for name in each.categories] == list(LETTERS)
        lines = []
        for each in asked:
            assert all(name in each.prompt for name in each.categories)
            corners = [
                (2 * x1, y1, 2 * x2, y2)
                for item in dataset.images[0].objects
                if item.label in each.categories
                for x1, y1, x2, y2 in [item.corners]
            ]
            lines.append(line(1, format_answer(corners, list(each.categories)), categories=list(each.categories)))
        write_jsonl(tmp_path / "p.jsonl", lines)
        words = ["--suite", "s", "--dataset", "set", annotations, "--resamples", "2"]
        words += ["--protocol", "all", json.dumps({"reader": reader})]
        words += ["--predictions", str(tmp_path / "p.jsonl"), "--output_metrics", str(tmp_path / "m.json")]
        main([*words, "--output_resamples", str(tmp_path / "m.npz")])
        own = read_json(tmp_path / "m.json")["protocols"]["all"]["datasets"]["set"]
        assert own["per_category"] == pytest.approx(dict.fromkeys(LETTERS, 1)) and own["counts"]["unknown_labels"] == 0


@pytest.mark.parametrize(
    ("label", "asked", "expected"),
    [
        ("o ", LETTERS, "o "),
        ("o", LETTERS, "o"),
        ("o", ("o ",), "o "),  # the category that was asked for
        ("q", ("Q",), "Q"),
        ("q", LETTERS, "q"),
        (" Q ", LETTERS, "Q"),
        ("q", ("o",), "q"),  # not asked for, but a category
        ("O", LETTERS, "o"),
        ("T\\", LETTERS, "t\\"),
        ("t", LETTERS, None),
    ],
)
def test_which_category_a_label_belongs_to(label, asked, expected):
    ids = dict(enumerate(LETTERS))
    found = label_reader(ids)(label, asked)
    assert (found is None and expected is None) or ids[found] == expected


def test_images_without_objects_need_no_answer(score, annotations):
    assert score(right_answers(annotations)[:2])["protocols"]["all"]["incomplete"] == []


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "p.jsonl: contains no predictions"),
        ([line(1, "[]"), line(9, "[]")], "line 2: image_id 9 is not in .*annotations.json"),
        ([line(1, "[]", dataset="else")], "line 1: data set 'else' is not among set"),
        ([{"dataset": "set"}], "line 1: no field 'categories'"),
        ([line(1, "[]"), line(2, "[]"), line(1, "[]")], "line 3: answers the question of line 1 again; remove one"),
        ([line(1, "[]", width=50)], "line 1: image 1 has another size in .*annotations.json"),
        ([line(1, "[]", categories=["cat"])], "line 1: category 'cat' is not in .*annotations.json"),
        ([line([1], "[]")], r"line 1: image_id \[1\] is not of type int"),
        ([line(1, None)], "line 1: completion None is not of type str"),
        ([line(1, "[]", categories=[["cat"]])], "line 1: invalid categories or tokens"),
        ([line(1, "[]", tokens=[[3, -1], [1, -1]])], "line 1: invalid categories or tokens"),
        ([line(1, "[]", frame="thirds")], "line 1: frame: unknown 'thirds'; choose"),
        ([line(1, "[]", protocol="new")], "protocol 'new' is not among all, some"),
    ],
)
def test_one_clear_line_for_each_mistake(score, lines, message):
    with pytest.raises(UserError, match=message):
        score(lines)


def test_unknown_options(score):
    with pytest.raises(UserError, match="unknown 'best'; choose constant, order, token-probability"):
        score([], ("set",), "--score_policy", "best")
    with pytest.raises(UserError, match="protocol new: unknown reader 'lax'; choose strict, released_2025"):
        score([], ("set",), "--protocol", "new", '{"reader": "lax"}')


def test_scoring_needs_no_torch():
    modules = "vision_r1.evaluation.suite_metrics, vision_r1.evaluation.compare, vision_r1.evaluation.anchors"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    folder = Path(score_suite.__file__).parent
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)


def test_metrics_are_strict_json(score, tmp_path):
    score([line(image, "[]") for image in (1, 2, 3)])
    json.loads((tmp_path / "m.json").read_text(), parse_constant=pytest.fail)


def test_a_category_that_was_asked_for_under_another_name_is_scored(score, annotations):
    lines = right_answers(annotations)
    for each in lines:
        each["protocol"], each["categories"] = "named", ["ring", "square", "triangle"]
        each["completion"] = each["completion"].replace("CIRCLE", "ring")
    named = ["--protocol", "named", json.dumps({"names": {"set": {"circle": "ring"}}, "score": 1.0})]
    scores = score(lines, ("set",), *named)["protocols"]["named"]
    assert scores["mean"]["AP"] == pytest.approx(1) and scores["reader"] == "strict"
    with pytest.raises(UserError, match="line 1: category 'ring' is not in"):
        score(lines, ("set",), "--protocol", "named", "{}")
