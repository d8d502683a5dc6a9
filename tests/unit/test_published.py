"""config/published.yaml equals the printed tables, and errors name the wrong entry."""

import configurations
import pytest
import yaml

from vision_r1.evaluation.published import read_published, read_tables
from vision_r1.files import UserError

QWEN = "Qwen/Qwen2.5-VL-7B-Instruct"


@pytest.fixture(scope="module")
def tables(root):
    return {table.name: table for table in read_tables(root / "config/published.yaml")}


@pytest.fixture(scope="module")
def anchors(root):
    return read_published(root / "config/published.yaml")


def values(table, row):
    found = next(each for each in table.rows if each.name == row)
    return {column.title: value for column, value in zip(table.columns, found.values, strict=True)}


def test_the_paper_s_tables_are_there(tables):
    assert {f"table_{number}" for number in (1, 2, 3, 4, 5, 9, 10)} <= tables.keys()
    assert values(tables["table_1"], "Qwen2.5-VL-7B + Vision-R1")["COCO mAP"] == pytest.approx(0.266)
    assert values(tables["table_2"], "Qwen2.5-VL-7B + Vision-R1")["vector"] == pytest.approx(0.548)
    assert values(tables["table_9"], "Qwen2.5-VL-3B")["Packages"] == pytest.approx(0.666)
    assert values(tables["table_10"], "STEP = 1/2")["COCO mAP"] == pytest.approx(0.233)


@pytest.mark.parametrize(("name", "sets"), [("table_2", 4), ("table_9", 13), ("upstream_odinw13", 13)])
def test_printed_means_are_the_means_of_what_is_printed(tables, name, sets):
    """So a wrongly copied digit would be found, as is the paper's own misprint."""
    for row in tables[name].rows:
        *own, mean = row.values
        assert len(own) == sets
        if None not in own:
            assert sum(own) / sets == pytest.approx(mean, abs=0.001), row.name  # each was rounded to 0.001


def test_table_1_agrees_with_tables_9_and_10_except_for_misprints(tables):
    one, nine, ten = tables["table_1"], tables["table_9"], tables["table_10"]
    for row in {each.name for each in nine.rows} & {each.name for each in one.rows}:
        first, second = values(one, row), values(nine, row) | {"ODinW-13": values(nine, row)["mean"]}
        differ = {title for title in first.keys() & second.keys() if first[title] != second[title]}
        assert differ == {title for name, title in one.misprints if name == row}
    base, again = values(one, "Qwen2.5-VL-7B"), values(ten, "base model")
    assert (base["COCO AP75"], again["AP75"]) == pytest.approx((0.18, 0.188)) and (
        "base model",
        "AP75",
    ) in ten.misprints
    assert "Griffon-G-7B: Pistols: 59.3, but only table 9's 55.1 gives the mean 43.8" in one.notes


def test_every_row_of_ours_names_a_checkpoint_that_its_recipe_trains(tables, root):
    trained = {recipe: configurations.load(root, recipe)["experiments"] for recipe in ("paper", "upstream_2026")}
    for table in tables.values():
        for row in table.rows:
            if row.checkpoint not in (None, "base", "sft"):
                experiment, stage = row.checkpoint.split("/")
                assert experiment in trained[table.recipe] and stage == "grpo_stage2"


def test_each_number_is_one_anchor_except_misprints(anchors):
    keys = [(each.model, each.suite, each.dataset, each.metric) for each in anchors]
    assert len(keys) == len(set(keys))
    found = {key: round(100 * each.value, 1) for key, each in zip(keys, anchors, strict=True)}
    assert found["Griffon-G-7B", "odinw13", "odinw_pistols", "AP"] == 55.1
    assert found["Qwen2.5-VL-7B", "coco", "mean", "AP75"] == 18.0
    assert found["Qwen2.5-VL-7B", "odinw13", "odinw_mushrooms", "AP"] == 7.0
    assert "Qwen2.5-VL-72B" not in {model for model, *_ in found}, "quoted from a report with another protocol"
    headline = {
        each.metric: each.value
        for each in anchors
        if (each.id, each.checkpoint, each.suite) == (QWEN, "step_1/grpo_stage2", "coco")
    }
    assert headline == pytest.approx({"AP50": 0.4, "AP75": 0.278, "AP": 0.266, "AR100": 0.367})
    # Tables 3 to 5 are about a model trained on other data; tables of other work use protocols that we don't have.
    assert {each.source.rpartition(" ")[2] for each in anchors if each.recipe == "paper"} == {"1", "2", "9", "10"}


def test_what_a_run_needs_for_a_table(tables):
    step_1, step_1_2 = ("step_1/grpo_stage2", "coco"), ("step_1_2/grpo_stage2", "coco")
    assert set(tables["table_10"].measured(QWEN)) == {("base", "coco"), step_1, step_1_2}
    assert set(tables["table_5"].measured(QWEN)) == {step_1, step_1_2, ("step_1_3/grpo_stage2", "coco")}
    assert set(tables["table_9"].measured("Qwen/Qwen2.5-VL-3B-Instruct")) == {("base", "odinw13")}
    assert set(tables["field_f1"].measured(QWEN)) == set()
    assert set(tables["table_10"].measured(None)) == set()


GOOD = {
    "models": {"x": "hub/x"},
    "tolerance": {"mean": 1, "dataset": 3},
    "tables": {
        "one": {
            **{"title": "One", "source": "here", "recipe": "paper"},
            "columns": {"AP": ["coco", "p", "mean", "AP"]},
            "rows": [["x", "base", 10]],
        }
    },
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [["x", "base", 1, 2]]}, "p.yaml: one: row 'x' has 2 numbers for 1 columns"),
        ({"columns": {"AP": ["coco", "p"]}}, "p.yaml: one: TypeError.* write it as the other tables"),
        ({"rows": [["x", "base", "ten"]]}, "p.yaml: one: TypeError"),
        ({"stand_in": "y"}, "p.yaml: one: KeyError.'y'."),
        ({"title": None, "rows": [[1, "base", 10]]}, "p.yaml: one: AttributeError"),
    ],
)
def test_each_mistake_is_reported_in_one_line(tmp_path, change, message):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    assert read_published(path)[0].value == 0.1
    path.write_text(yaml.safe_dump(GOOD | {"tables": {"one": GOOD["tables"]["one"] | change}}))
    with pytest.raises(UserError, match=message):
        read_tables(path)


@pytest.mark.parametrize("text", ["published: []", "[1, 2]", "{", ""])
def test_a_file_with_another_structure(tmp_path, text):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match="p.yaml: (no key 'models'|not a mapping|not valid YAML)"):
        read_published(tmp_path / "p.yaml")
    with pytest.raises(UserError, match="none.yaml: no such file"):
        read_published(tmp_path / "none.yaml")
