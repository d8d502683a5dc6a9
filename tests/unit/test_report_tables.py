import shutil
import subprocess
from dataclasses import replace

import pytest
from report_factory import AP, BOXES, CHECKPOINTS, SUITES, comparison, metrics, write

from vision_r1.report.conclusion import conclusion
from vision_r1.report.results import of_metrics, pairs, with_differences
from vision_r1.report.sheets import Sheet, as_latex, as_markdown
from vision_r1.report.tables import (
    dataset_columns,
    dataset_tables,
    main_columns,
    main_sheets,
    main_table,
    spread_table,
)


def results_of(tmp_path, scores, suites=tuple(SUITES)):
    return [
        result
        for name, ap in scores.items()
        for suite in suites
        for result in of_metrics(
            write(tmp_path / name / f"{suite}.json", metrics(ap, BOXES.get(name, 1500), suite)), name, suite, 0
        )
    ]


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
    lines = as_latex(main_sheets(results)[:1], "Miniature\nof 5 %").splitlines()
    body = [line for line in lines if line.endswith(r" \\")]
    assert lines[0].startswith("% Miniature") and lines[3].startswith(r"\begin{tabular}{llrrrrrr}")
    assert len(body) == 1 + len(CHECKPOINTS) and {line.count(" & ") for line in body} == {7}
    assert "51.3 (+15.2)" in body[4] and r"released-one-prompt" in body[0]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex")
def test_hostile_names_are_typeset(results, tmp_path):
    """LaTeX would read a first cell that starts with [ or * as an argument of the preceding line end."""
    names = ["[1]", "*", "a & b", "\\input{/etc/passwd}", "%$#_{}~^<>|", "\n\\end{tabular}", "x" * 10_000, "?`--"]
    hostile = Sheet("hostile", "\n\\stop", ("[head]", "AP"), tuple((name, 0.5) for name in names))
    (tmp_path / "tables.tex").write_text(as_latex([hostile, *main_sheets(results)], "Miniature\n\\stop"))
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{tables}\end{document}"
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


def chains_of(*arms):
    return [[f"{arm}/grpo_stage1", f"{arm}/grpo_stage2"] for arm in arms]


CHAIN = chains_of("strict")


@pytest.mark.parametrize(
    ("base", "sft", "first", "last", "answer", "words"),
    [
        (0.36, 0.40, 0.46, 0.51, "Yes", "raised"),
        (0.36, 0.56, 0.46, 0.51, "Partly", "reached 56.0, higher"),
        (0.36, 0.40, 0.51, 0.46, "Partly", "stage 2 −5.0"),
        (0.36, 0.40, 0.30, 0.25, "No", "made the model worse: it lowered coco AP from 36.0 to 25.0"),
        (0.36, 0.40, 0.36, 0.365, "Unclear", "did not clearly move"),
        (0.36, None, 0.46, 0.51, "Yes", "the SFT baseline is missing"),
        (0.36, 0.40, 0.46, None, "Unknown", "missing for strict: strict stage 2"),
        (None, None, None, None, "Unknown", "base, strict stage 1, strict stage 2"),
    ],
)
def test_the_verdict_agrees_with_the_numbers(tmp_path, base, sft, first, last, answer, words):
    names = {"base": base, "sft": sft, "strict/grpo_stage1": first, "strict/grpo_stage2": last}
    results = results_of(tmp_path, {name: ap for name, ap in names.items() if ap is not None}, suites=("coco",))
    found = conclusion(results, CHAIN, "coco", "released-one-prompt")
    assert found.answer == answer and words in found.sentence


@pytest.mark.parametrize(
    ("scores", "other_seed", "reasons"),
    [
        ((0.36, 0.40, 0.46, 0.51), None, "higher than base, higher than SFT"),
        ((0.36, 0.56, 0.46, 0.51), None, "higher than base, lower than SFT"),
        ((0.36, 0.46, 0.51, 0.46), None, "higher than base, worse after stage 2 than before it, about as good as SFT"),
        (
            (0.36, 0.40, 0.30, 0.25),
            None,
            "lower than base, worse after stage 2 than before it, lower than SFT, lower than base on 1 other benchmark",
        ),
        ((0.36, 0.40, 0.36, 0.365), None, "no clear change from base, lower than SFT"),
        ((0.36, None, 0.46, 0.51), None, "higher than base"),
        ((0.36, 0.40, 0.46, 0.51), 0.3, "higher than base, higher than SFT, a gain with 1 of 2 training seeds"),
        ((0.36, 0.40, 0.46, None), None, ""),
    ],
)
def test_the_answer_has_reasons(tmp_path, scores, other_seed, reasons):
    names = dict(zip(("base", "sft", "strict/grpo_stage1", "strict/grpo_stage2"), scores, strict=True))
    names |= {"strict_s1/grpo_stage2": other_seed}
    results = results_of(tmp_path, {name: ap for name, ap in names.items() if ap is not None}, suites=("coco",))
    chains = chains_of("strict", *(["strict_s1"] if other_seed else []))
    assert ", ".join(conclusion(results, chains, "coco", "released-one-prompt").reasons) == reasons


def test_the_verdict_uses_the_sft_of_the_same_training_seed(tmp_path):
    scores = {"base": 0.3, "sft": 0.9, "sft_s1": 0.2, "strict_s1/grpo_stage1": 0.4, "strict_s1/grpo_stage2": 0.5}
    results = results_of(tmp_path, scores, suites=("coco",))
    assert conclusion(results, chains_of("strict_s1"), "coco", "released-one-prompt").answer == "Yes"


@pytest.mark.parametrize(
    ("other", "seeds", "answer", "words"),
    [
        (0.41, 2, "Yes", "2 of 2 training seeds the change is +11.0 to +20.0"),
        (0.28, 2, "Partly", "2 of 2 training seeds the change is −2.0 to +20.0"),
        (0.41, 3, "Partly", "2 of 3 training seeds the change is +11.0 to +20.0"),
    ],
)
def test_a_gain_has_to_hold_with_every_training_seed(tmp_path, other, seeds, answer, words):
    scores = {"base": 0.3, "sft": 0.4, "strict/grpo_stage1": 0.4, "strict/grpo_stage2": 0.5}
    results = results_of(tmp_path, scores | {"strict_s1/grpo_stage2": other}, suites=("coco",))
    chains = chains_of(*("strict", "strict_s1", "strict_s2")[:seeds])
    found = conclusion(results, chains, "coco", "released-one-prompt")
    assert found.answer == answer and f"over {words}" in found.sentence
    assert ("2 of 3 training seeds measured" in found.reasons) == (seeds == 3)


def with_interval(results, low, high):
    return [
        replace(result, delta_low=low, delta_high=high) if result.checkpoint == "strict/grpo_stage2" else result
        for result in results
    ]


@pytest.mark.parametrize(
    ("last", "low", "high", "answer", "words"),
    [
        (0.40, 0.02, 0.06, "Yes", "95 % interval of the change +2.0 to +6.0;"),
        (0.40, -0.01, 0.09, "Unclear", "−1.0 to +9.0, which includes 0"),
        (0.32, -0.09, 0.01, "Unclear", "did not clearly move"),
        (0.40, -0.03, -0.01, "Unclear", "did not clearly move"),  # bias-corrected intervals may do that
        (0.32, -0.06, -0.02, "No", "made the model worse: it lowered"),
    ],
)
def test_a_change_whose_interval_includes_zero_is_unclear(tmp_path, last, low, high, answer, words):
    scores = {"base": 0.36, "sft": 0.30, "strict/grpo_stage1": 0.37, "strict/grpo_stage2": last}
    found = conclusion(
        with_interval(results_of(tmp_path, scores, suites=("coco",)), low, high),
        CHAIN,
        "coco",
        "released-one-prompt",
    )
    assert found.answer == answer and words in found.sentence


def test_a_gain_that_costs_another_benchmark_is_partial(tmp_path):
    scores = {"base": 0.36, "sft": 0.30, "strict/grpo_stage1": 0.37, "strict/grpo_stage2": 0.40}
    results = results_of(tmp_path, scores, suites=("coco",))
    for name, ap in scores.items():
        results += results_of(tmp_path, {name: 0.8 - ap}, suites=("odinw13",))
    found = conclusion(results, CHAIN, "coco", "released-one-prompt")
    assert found.answer == "Partly" and found.reasons[-1] == "lower than base on 2 other benchmarks"
    assert "made the model worse on odinw13 (released-present, AP −" in found.sentence
    unsure = conclusion(with_interval(results, -0.1, 0.01), CHAIN, "coco", "released-one-prompt")
    assert "odinw13" not in unsure.sentence


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (
            ["sft_matched/sft"],
            "SFT (sft_matched) raised coco AP from 30.0 to 45.0, of which there is no interval; the SFT baseline",
        ),
        (
            ["strict/grpo_stage1", "beginner_only/grpo_stage2"],
            "GRPO (beginner_only) raised coco AP from 30.0 to 50.0 (stage 1 of strict +12.0, stage 2 +8.0)",
        ),
        (
            ["sft", "after_sft/grpo_stage1"],
            "GRPO (after_sft) raised coco AP from 30.0 to 47.0 (SFT +10.0, stage 1 +7.0)",
        ),
    ],
)
def test_the_sentence_covers_every_stage_that_an_experiment_trains(tmp_path, chain, words):
    scores = {"base": 0.3, "sft": 0.4, "sft_matched/sft": 0.45, "strict/grpo_stage1": 0.42}
    scores |= {"beginner_only/grpo_stage2": 0.5, "after_sft/grpo_stage1": 0.47}
    found = conclusion(results_of(tmp_path, scores, suites=("coco",)), [chain], "coco", "released-one-prompt")
    assert found.answer == "Yes" and words in found.sentence
