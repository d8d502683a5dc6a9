"""Annotation and results files as found in the wild; some machines have these cases beside the repository."""

import check_dataset
import index_images
import pytest
import score_predictions
from test_curate_train import curate as curate_data_set
from test_curate_train import processor  # noqa: F401 (a fixture)

from vision_r1.data.coco import check_images, read_coco
from vision_r1.files import UserError, read_json


@pytest.fixture
def check(cases, tmp_path):
    def run(name):
        words = ["--source", "coco", "mine", str(cases / name / "gt.json"), str(cases / name / "images")]
        check_dataset.main([*words, "--output_json", str(tmp_path / "checked.json")])
        return read_json(tmp_path / "checked.json")

    return run


@pytest.fixture
def score(cases, tmp_path):
    def run(name, file="results.json", *options, annotations="gt.json"):
        words = ["--annotations", str(cases / name / annotations), "--predictions", str(cases / name / file)]
        score_predictions.main(
            [*words, "--resamples", "20", *options, "--output_metrics", str(tmp_path / "metrics.json")]
        )
        return read_json(tmp_path / "metrics.json")

    return run


@pytest.fixture
def curate(cases, tmp_path, processor):  # noqa: F811
    def run(name, **wanted):
        places = "coco", "mine", str(cases / name / "gt.json"), str(cases / name / "images")
        return curate_data_set([places], tmp_path / "curated", processor, **wanted)[0]

    return run


def test_a_root_category_is_not_a_category(check, curate, caplog):
    assert check("01-root-same-name")["categories"] == 1
    assert "entries that are not categories ('pothole'): 1" in caplog.text
    rows = curate("02-root-other-name", detection=6, grounding=6, negative=6)
    assert len(rows) == 12 and all(row["categories"] == ["raccoon"] for row in rows)
    assert not any("raccoons" in row["prompt"] for row in rows)
    assert check("03-root-with-boxes-stays")["categories"] == 2


@pytest.mark.parametrize(
    ("name", "files", "annotations"),
    [
        ("06-whole-numbers-as-floats", ("results.json", "results_float_ids.json"), "gt.json"),
        ("07-image-ids-as-text", ("results.json",), "gt_numbers.json"),
        ("07-image-ids-as-text", ("results.json",), "gt.json"),
        ("08-annotation-id-used-twice", ("results.json",), "gt.json"),
    ],
)
def test_numbers_in_other_forms_are_read_as_meant_and_reported(check, score, caplog, name, files, annotations):
    assert check(name)["boxes"] == 2
    assert "gt.json: read as meant: " in caplog.text
    for file in files:
        assert score(name, file, annotations=annotations)["AP"] == pytest.approx(1)


def test_backslashes_in_file_names(check):
    assert check("15-backslash-in-file-name")["missing"] == 0


def test_exchanged_width_and_height_are_reported_as_such(cases, tmp_path):
    folder = cases / "17-width-and-height-exchanged"
    places = [str(folder / "gt.json"), str(folder / "images")]
    message = "width and height are exchanged in all 2 images"
    words = ["--train", "coco", "mine", *places, "--cache", str(tmp_path / "cache.sqlite")]
    with pytest.raises(UserError, match=f"gt.json: {message}"):
        index_images.main([*words, "--output_index", str(tmp_path / "images.jsonl")])
    images = read_coco("mine", *places).images
    with pytest.raises(UserError, match=message):
        check_images({image.path: (image.width, image.height) for image in images})


def test_objects_of_both_records_of_an_image_are_in_its_answer(curate):
    (row,) = curate("19-same-image-listed-twice", detection=6, grounding=0, negative=0)
    assert [item["bbox"] for item in row["objects"]] == [[4, 4, 24, 24], [36, 20, 56, 40]]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("20-results-with-bom", "results.json"),
        ("21-results-in-an-object", "results.json"),
        ("21-results-in-an-object", "results_indented.json"),
    ],
)
def test_results_in_other_formats(score, name, file):
    assert score(name, file)["AP"] == pytest.approx(1)


def test_nothing_to_score_is_an_error(score, tmp_path):
    with pytest.raises(UserError, match=r"results.json: the file is empty"):
        score("23-empty-results-file")
    with pytest.raises(UserError, match=r"gt.json: `images` is empty"):
        score("25-no-images-at-all")
    assert not (tmp_path / "metrics.json").exists()


def test_corners_in_place_of_width_and_height_are_reported(check, caplog):
    message = "12 of 12 boxes end outside of their image; are they x1 y1 x2 y2?"
    with pytest.raises(UserError) as error:
        check("27-ground-truth-as-corners")
    assert message in str(error.value) and message in caplog.text


def test_corners_in_the_wrong_order_are_false_boxes(score):
    for file, ap in (("predictions.jsonl", 1), ("predictions_valid_false_box.jsonl", 0.5)):
        metrics = score("29-corners-in-the-wrong-order", file, "--reader", "released_2025")
        assert metrics["AP"] == pytest.approx(ap)
        assert metrics["F1"]["micro"]["0.50"] == pytest.approx({"precision": 0.5, "recall": 1, "F1": 2 / 3})
        assert {kind: each["count"] for kind, each in metrics["errors"].items() if each["count"]} == {"background": 1}


def test_a_box_without_width_is_reported_by_checks_and_scores(check, score, caplog):
    assert check("30-box-without-width")["odd"] == {"no_area": 1}
    assert "1 of 3 boxes has no area, so it can't be found" in caplog.text
    caplog.clear()
    metrics = score("30-box-without-width")
    assert metrics["AP"] == pytest.approx(0.752, abs=1e-3) and metrics["counts"]["ground_truth_without_area"] == 1
    assert "boxes without area, which nothing can find: 1" in caplog.text


def test_negatives_are_only_of_categories_that_annotators_looked_for(curate):
    rows = curate("34-not-every-class-was-looked-for", detection=6, grounding=6, negative=6)
    assert [row["categories"] for row in rows if row["task"] == "negative"] == [["pig"]] * 6
