import shutil
import subprocess

import pytest
from report_factory import AP, CHECKPOINTS, SUITES, comparison, results_of

from vision_r1.report.results import pairs, with_differences
from vision_r1.report.sheets import Sheet, as_latex, as_markdown
from vision_r1.report.tables import (
    checkpoint_text,
    comparison_sheet,
    dataset_columns,
    dataset_tables,
    interval_sheet,
    main_columns,
    main_sheets,
    main_table,
    policy_sheet,
    spread_table,
)


@pytest.fixture
def results(tmp_path):
    return results_of(tmp_path, AP)


def test_main_table_has_three_columns_for_the_first_benchmark_and_deltas_to_base(results):
    columns = main_columns(pairs(results))
    assert [column.metric for column in columns] == ["AP", "AP50", "AP75", "AP", "AP", "AP"]
    rows = main_table(results, CHECKPOINTS, columns)
    assert rows[0].cells[0].delta is None
    assert rows[3].cells[0].value == pytest.approx(0.513) and rows[3].cells[0].delta == pytest.approx(0.152)


def test_missing_measurements_are_none(results):
    cell = main_table(results, ["never/grpo_stage1"], main_columns(pairs(results)))[0].cells[0]
    assert cell.value is None and cell.delta is None


def test_spread_needs_every_training_seed(tmp_path):
    results = results_of(tmp_path, {"base": 0.3, "sft": 0.5, "sft_s1": 0.56, "sft_s2": 0.53}, suites=("coco",))
    columns = main_columns(pairs(results))
    (spread,) = spread_table(main_table(results, ["base", "sft", "sft_s1", "sft_s2"], columns))
    assert spread.training_seeds == (0, 1, 2) and spread.cells[0] == pytest.approx((0.53, 0.5, 0.56))
    (spread,) = spread_table(main_table(results, ["sft", "sft_s9"], columns))
    assert spread.cells[0] is None


def test_dataset_tables_end_in_the_mean(results):
    tables = dataset_tables(results, CHECKPOINTS)
    assert [(table.suite, table.protocol) for table in tables] == pairs(results)[2:]
    assert [name for name, _ in tables[0].lines] == [*SUITES["odinw13"], "mean"]


def test_files_contain_the_main_table_and_every_data_set(results):
    text = as_markdown(main_sheets(results), "Miniature | <b>not</b> comparable")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    main, sets = lines[: 2 + len(CHECKPOINTS)], lines[2 + len(CHECKPOINTS) :]
    assert len(sets) == len(main)
    for table in (main, sets):
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert all(name in sets[0] for name in SUITES["odinw13"]) and "odinw13 AP (released-present)" in sets[0]
    assert "51.3 (+15.2)" in text and "<b>" not in text.replace("\\<b", "") and "Chain seed 0" in text


def test_latex_table_is_well_formed(results):
    compared = with_differences(results, comparison())
    lines = as_latex(main_sheets(compared)[:1], "Miniature\nof 5 %").splitlines()
    body = [line for line in lines if line.endswith(r" \\")]
    assert lines[0].startswith("% Miniature") and lines[4].startswith(r"\begin{tabular}{llrrrrrr}")
    assert len(body) == 1 + len(CHECKPOINTS) and {line.count(" & ") for line in body} == {7}
    assert " & 51.3 * & " in body[4] and r"\rotatebox{90}{coco AP (released-one-prompt)}" in body[0]


def test_latex_columns_of_numbers_and_of_long_texts():
    assert r"\begin{tabular}{lr}" in as_latex([Sheet("s", "", ("a", "b"), ())])
    assert r"\begin{tabular}{lp{5cm}}" in as_latex([Sheet("s", "", ("a", "b"), (("x", "y" * 41),))])


def test_checkpoints_of_two_seeds_have_different_names():
    assert [checkpoint_text(name) for name in ("strict_s1/sft", "strict/sft")] == ["strict SFT, seed 1", "strict SFT"]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_hostile_names_are_typeset(results, tmp_path):
    """LaTeX would read a first cell that starts with [ or * as an argument of the preceding line end."""
    names = ["[1]", "*", "a & b", "\\input{/etc/passwd}", "%$#_{}~^<>|", "\n\\end{tabular}", "x" * 10_000, "?`--"]
    hostile = Sheet("hostile", "\n\\stop", ("[head]", "AP"), tuple((name, 0.5) for name in names))
    (tmp_path / "tables.tex").write_text(as_latex([hostile, *main_sheets(results)], "Miniature\n\\stop"))
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{tables}\end{document}"
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout
    assert any(file.stat().st_size for file in tmp_path.glob("*.pdf"))


def test_differences_have_their_interval(results):
    compared = with_differences(results, comparison())
    (columns,) = [c for c in dataset_columns(pairs(results), SUITES) if c.dataset == "crowd"]
    (row,) = main_table(compared, ["sft"], [columns])
    assert (row.cells[0].low, row.cells[0].high, row.cells[0].significant) == (-0.15, -0.05, True)
    assert str(row.cells[0]).endswith(", −15.0 to −5.0) *")
    assert main_table(compared, ["strict/grpo_stage1"], [columns])[0].cells[0].low is None


PAPER = [
    {"suite": "coco", "protocol": "released-one-prompt", "dataset": "mean", "metric": "AP"}
    | {"checkpoint": name, "value": ap}
    for name, ap in (("base", 0.177), ("released_2025/grpo_stage2", 0.266))
]


def test_the_papers_numbers_are_below_ours(results):
    columns = main_columns(pairs(results))
    rows = main_table(results, CHECKPOINTS, columns, PAPER)
    assert [row.checkpoint.name for row in rows if row.published] == ["base", "released_2025/grpo_stage2"]
    theirs = rows[-1].cells
    assert theirs[0].value == 0.266 and theirs[0].delta == pytest.approx(0.089) and str(theirs[1]) == "–"
    assert "| published: released\\_2025 stage 2 |  | 26.6 (+8.9) | – |" in as_markdown(main_sheets(results, PAPER))


def test_a_checkpoint_without_a_suite_is_missing_there(tmp_path):
    results = results_of(tmp_path, {"base": 0.3}) + results_of(tmp_path, {"sft": 0.4}, suites=("coco",))
    text = as_markdown(main_sheets(results))
    (line,) = [line for line in text.splitlines() if line.startswith("| SFT") and line.count("|") == 11]
    assert line.count("missing") == 5 and " 0.0 " not in line


def test_sheets_of_means_have_no_line_of_a_data_set(results):
    benchmarks = pairs(results)
    assert [line[:3] for line in policy_sheet(results, ["base"]).lines] == [("base", *pair) for pair in benchmarks]
    wanted = sorted((name, *pair) for name in CHECKPOINTS for pair in benchmarks)
    assert sorted(line[:3] for line in interval_sheet(results).lines) == wanted


def test_the_sheet_of_differences_has_means_of_ap_only():
    worse = [line[-1] for line in comparison_sheet(comparison()).lines]
    assert worse[0].startswith("crowd") and worse[1:] == ["none"] * 3


def test_without_the_base_model_there_is_no_difference(tmp_path):
    results = results_of(tmp_path, {"sft": 0.4})
    (row,) = main_table(results, ["sft"], main_columns(pairs(results)))
    assert row.cells[0].value == pytest.approx(0.4) and row.cells[0].delta is None
