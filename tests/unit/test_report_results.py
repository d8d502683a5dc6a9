import pytest
from report_factory import AP, comparison, metrics, results_of, write

from vision_r1.files import UserError
from vision_r1.report.results import Checkpoint, first_seed, of_metrics, pairs, read_csv, with_differences, write_csv


@pytest.mark.parametrize(
    ("name", "experiment", "stage", "training_seed", "title"),
    [
        ("base", "", "base", 0, "base"),
        ("sft_s2", "", "sft", 2, "SFT"),
        ("strict/grpo_stage1", "strict", "grpo_stage1", 0, "strict stage 1"),
        ("no_stage_s1/grpo_stage2", "no_stage", "grpo_stage2", 1, "no_stage stage 2"),
    ],
)
def test_checkpoint_names(name, experiment, stage, training_seed, title):
    assert Checkpoint.of(name) == Checkpoint(name, experiment, stage, training_seed)
    assert Checkpoint.of(name).title == title


@pytest.mark.parametrize("name", ["", "strict", "strict/grpo_stage3", "base/grpo_stage1", "base_s1", "/grpo_stage1"])
def test_other_names_are_refused(name):
    with pytest.raises(UserError, match="unknown form"):
        Checkpoint.of(name)


def test_results_come_back_from_csv(tmp_path):
    names = ["=HYPERLINK(1)", 'a,b"c', "plain", "-2"]
    path = write(tmp_path / "odinw13.json", metrics(0.3, 1400, "odinw13", names))
    results = of_metrics(path, "strict_s1/grpo_stage2", "odinw13", chain_seed=4)
    write_csv(tmp_path / "results.csv", results)
    assert read_csv(tmp_path / "results.csv") == results
    assert pairs(results) == [("odinw13", "released-present"), ("odinw13", "all-categories")]
    assert {(result.chain_seed, result.training_seed) for result in results} == {(4, 1)}
    cells = [cell for line in (tmp_path / "results.csv").read_text().splitlines()[1:] for cell in line.split(",")]
    assert not any(cell.strip('"').startswith(("=", "-", "+", "@")) for cell in cells)


def test_an_incomplete_mean_is_missing_not_zero(tmp_path):
    scores = metrics(0.3, 1400, "coco")
    scores["protocols"]["released-one-prompt"] |= {"mean": None, "incomplete": ["other_set"]}
    mean = of_metrics(write(tmp_path / "coco.json", scores), "base", "coco", 0)[0]
    assert mean.AP is None and mean.incomplete == "other_set" and mean.images == 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores.update(suite="odinw13"), "has suite 'odinw13', not 'coco'"),
        (lambda scores: scores.pop("protocols"), "not a metrics file"),
        (lambda scores: scores["protocols"]["released-one-prompt"].pop("datasets"), "not a metrics file"),
        (lambda scores: scores["protocols"]["released-one-prompt"]["datasets"].update(mean={}), "rename"),
    ],
)
def test_wrong_metrics_files_are_named(tmp_path, change, message):
    scores = metrics(0.3, 1400, "coco")
    change(scores)
    path = write(tmp_path / "coco.json", scores)
    with pytest.raises(UserError, match=message) as error:
        of_metrics(path, "base", "coco", 0)
    assert str(path) in str(error.value)


def test_wrong_tables_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_csv(tmp_path / "results.csv")
    (tmp_path / "results.csv").write_text("chain_seed,checkpoint\n0,base\n")
    with pytest.raises(UserError, match="line 2"):
        read_csv(tmp_path / "results.csv")


def test_first_seed_leaves_other_training_seeds_out(tmp_path):
    path = write(tmp_path / "coco.json", metrics(0.3, 1400, "coco"))
    names = ["base", "sft_s1", "sft_s2", "strict_s1/grpo_stage1", "strict_s2/grpo_stage1"]
    results = [result for name in names for result in of_metrics(path, name, "coco", 0)]
    assert first_seed(results) == ["base", "sft_s1", "strict_s1/grpo_stage1"]


def test_a_count_that_one_data_set_lacks(tmp_path):
    scores = metrics(0.3, 1400, "odinw13", ["thermal", "tiny"])
    del scores["protocols"]["released-present"]["datasets"]["tiny"]["counts"]["truncated"]
    mean = of_metrics(write(tmp_path / "o.json", scores), "base", "odinw13", 0)[0]
    assert (mean.truncated, mean.images) == (1, 800)


def test_what_was_not_compared_is_not_called_insignificant(tmp_path):
    lines = [line | {"difference": None, "low": None, "high": None} for line in comparison()["lines"]]
    results = results_of(tmp_path, AP)
    assert with_differences(results, {"lines": lines}) == results
