"""Whether training worked, in one sentence: every answer, and what decides it."""

import pytest
from report_factory import results_of

from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import BASE
from vision_r1.report.conclusion import conclusion


def chains_of(*arms):
    return [[f"{arm}/grpo_stage1", f"{arm}/grpo_stage2"] for arm in arms]


CHAIN = chains_of("strict")


@pytest.mark.parametrize(
    ("base", "sft", "first", "last", "answer", "words"),
    [
        (0.36, 0.40, 0.46, 0.51, "Yes", "raised"),
        (0.36, 0.56, 0.46, 0.51, "Partly", "reached 56.0 (difference −5.0, 95 % interval −5.2 to −4.8)"),
        (0.36, 0.40, 0.51, 0.46, "Partly", "stage 2 −5.0"),
        (0.36, 0.40, 0.30, 0.25, "No", "worse: it lowered coco AP (released-one-prompt) from 36.0 to 25.0"),
        (0.36, 0.40, 0.36, 0.365, "Unclear", "did not clearly move"),
        (0.36, None, 0.46, 0.51, "Yes", "the SFT baseline is missing"),
        (0.36, 0.40, 0.46, None, "Unknown", "missing for strict: strict stage 2"),
        (None, None, None, None, "Unknown", "base, strict stage 1, strict stage 2"),
    ],
)
def test_the_verdict_agrees_with_the_numbers(tmp_path, base, sft, first, last, answer, words):
    names = {"base": base, "sft": sft, "strict/grpo_stage1": first, "strict/grpo_stage2": last}
    results = results_of(tmp_path, {name: ap for name, ap in names.items() if ap is not None}, suites=("coco",))
    found = concluded(results, CHAIN)
    assert found.answer == answer and words in found.sentence


@pytest.mark.parametrize(
    ("scores", "other_seed", "reasons"),
    [
        ((0.36, 0.40, 0.46, 0.51), None, "higher than base, higher than SFT"),
        ((0.36, 0.56, 0.46, 0.51), None, "higher than base, lower than SFT"),
        (
            (0.36, 0.46, 0.51, 0.46),
            None,
            "higher than base, no clear difference from SFT, worse after stage 2 than before it",
        ),
        (
            (0.36, 0.40, 0.30, 0.25),
            None,
            "lower than base, worse after stage 2 than before it, lower than SFT, lower than base on 1 other benchmark",
        ),
        ((0.36, 0.40, 0.36, 0.365), None, "no clear change from base, lower than SFT"),
        ((0.36, None, 0.46, 0.51), None, "higher than base"),
        ((0.36, 0.40, 0.46, 0.51), 0.3, "higher than base, higher than SFT, a clear gain with 1 of 2 training seeds"),
        ((0.36, 0.40, 0.46, None), None, ""),
    ],
)
def test_the_answer_has_reasons(tmp_path, scores, other_seed, reasons):
    names = dict(zip(("base", "sft", "strict/grpo_stage1", "strict/grpo_stage2"), scores, strict=True))
    names |= {"strict_s1/grpo_stage2": other_seed}
    results = results_of(tmp_path, {name: ap for name, ap in names.items() if ap is not None}, suites=("coco",))
    chains = chains_of("strict", *(["strict_s1"] if other_seed else []))
    assert ", ".join(concluded(results, chains).reasons) == reasons


def test_the_verdict_uses_the_sft_of_the_same_training_seed(tmp_path):
    scores = {"base": 0.3, "sft": 0.9, "sft_s1": 0.2, "strict_s1/grpo_stage1": 0.4, "strict_s1/grpo_stage2": 0.5}
    results = results_of(tmp_path, scores, suites=("coco",))
    assert concluded(results, chains_of("strict_s1")).answer == "Yes"


@pytest.mark.parametrize(
    ("other", "seeds", "answer", "words"),
    [
        (0.41, 2, "Yes", "2 of 2 training seeds the change from base is +11.0 to +20.0"),
        (0.28, 2, "Partly", "2 of 2 training seeds the change from base is −2.0 to +20.0"),
        (0.41, 3, "Partly", "2 of 3 training seeds the change from base is +11.0 to +20.0"),
    ],
)
def test_a_gain_has_to_hold_with_every_training_seed(tmp_path, other, seeds, answer, words):
    scores = {"base": 0.3, "sft": 0.4, "strict/grpo_stage1": 0.4, "strict/grpo_stage2": 0.5}
    results = results_of(tmp_path, scores | {"strict_s1/grpo_stage2": other}, suites=("coco",))
    chains = chains_of(*("strict", "strict_s1", "strict_s2")[:seeds])
    found = concluded(results, chains)
    assert found.answer == answer and f"over {words}" in found.sentence
    assert ("2 of 3 training seeds measured" in found.reasons) == (seeds == 3)


BENCHMARK = ("coco", "released-one-prompt")


def intervals_of(results, given=None):
    """Return an interval of 0.4 points about each difference; `given`, (low, high), for strict's stage 2 and base."""
    about = {(line.checkpoint, line.suite, line.protocol): line.AP for line in results if line.dataset == MEAN}
    found = {
        (own, other, *benchmark): (ap - base - 0.002, ap - base + 0.002)
        for (own, *benchmark), ap in about.items()
        for (other, *same), base in about.items()
        if same == benchmark
    }
    return found if given is None else found | {key: given for key in found if key[:2] == (CHAIN[0][-1], BASE)}


def concluded(results, chains, given=None):
    return conclusion(results, chains, *BENCHMARK, intervals_of(results, given))


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
    found = concluded(results_of(tmp_path, scores, suites=("coco",)), CHAIN, (low, high))
    assert found.answer == answer and words in found.sentence


def test_a_gain_that_costs_another_benchmark_is_partial(tmp_path):
    scores = {"base": 0.36, "sft": 0.30, "strict/grpo_stage1": 0.37, "strict/grpo_stage2": 0.40}
    results = results_of(tmp_path, scores, suites=("coco",))
    for name, ap in scores.items():
        results += results_of(tmp_path, {name: 0.8 - ap}, suites=("odinw13",))
    found = concluded(results, CHAIN)
    assert found.answer == "Partly" and found.reasons[-1] == "lower than base on 2 other benchmarks"
    assert "made the model worse on odinw13 (released-present, AP −" in found.sentence
    unsure = concluded(results, CHAIN, (-0.1, 0.01))
    assert "odinw13" not in unsure.sentence


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        (
            ["sft_matched/sft"],
            "SFT (sft_matched) raised coco AP (released-one-prompt) from 30.0 to 45.0, 95 % interval of the change",
        ),
        (
            ["strict/grpo_stage1", "beginner_only/grpo_stage2"],
            "raised coco AP (released-one-prompt) from 30.0 to 50.0 (stage 1 of strict +12.0, stage 2 +8.0)",
        ),
        (
            ["sft", "after_sft/grpo_stage1"],
            "SFT, then GRPO (after_sft) raised coco AP (released-one-prompt) from 30.0 to 47.0 (SFT +10.0,",
        ),
    ],
)
def test_the_sentence_covers_every_stage_that_an_experiment_trains(tmp_path, chain, words):
    scores = {"base": 0.3, "sft": 0.4, "sft_matched/sft": 0.45, "strict/grpo_stage1": 0.42}
    scores |= {"beginner_only/grpo_stage2": 0.5, "after_sft/grpo_stage1": 0.47}
    found = concluded(results_of(tmp_path, scores, suites=("coco",)), [chain])
    assert found.answer == "Yes" and words in found.sentence


@pytest.mark.parametrize(
    ("chain", "end", "answer", "reasons"),
    [
        (
            ["sft", "x/grpo_stage1"],
            0.405,
            "Partly",
            "higher than base, no clear difference from SFT, no clear gain over the SFT that it started from",
        ),
        (["sft", "x/grpo_stage1"], 0.45, "Yes", "higher than base, higher than SFT"),
        (["x/sft", "x/grpo_stage1"], 0.45, "Yes", "higher than base, higher than SFT"),
        (
            ["x/sft", "x/grpo_stage1"],
            0.425,
            "Partly",
            "higher than base, higher than SFT, no clear gain over the SFT that it started from",
        ),
    ],
)
def test_what_sft_gained_is_not_counted_as_grpos(tmp_path, chain, end, answer, reasons):
    scores = {"base": 0.05, "sft": 0.4, "x/sft": 0.42, "x/grpo_stage1": end}
    found = concluded(results_of(tmp_path, scores, suites=("coco",)), [chain])
    assert found.sentence.startswith("SFT, then GRPO (x) raised")
    assert (found.answer, ", ".join(found.reasons)) == (answer, reasons)


def test_a_gain_over_sft_that_stays_below_base_is_a_loss(tmp_path):
    results = results_of(tmp_path, {"base": 0.4, "sft": 0.2, "x/grpo_stage1": 0.3}, suites=("coco",))
    found = concluded(results, [["sft", "x/grpo_stage1"]])
    assert (found.answer, found.reasons[:2]) == ("No", ("lower than base", "higher than SFT"))
    assert not any("started from" in reason for reason in found.reasons)


def test_with_several_training_seeds_each_must_gain_over_its_sft(tmp_path):
    scores = {"base": 0.05, "sft": 0.4, "sft_s1": 0.45, "x/grpo_stage1": 0.45, "x_s1/grpo_stage1": 0.3}
    chains = [["sft", "x/grpo_stage1"], ["sft_s1", "x_s1/grpo_stage1"]]
    found = concluded(results_of(tmp_path, scores, suites=("coco",)), chains)
    assert found.answer == "Partly" and found.reasons[-1] == "a clear gain over base and SFT with 1 of 2 training seeds"


def test_a_change_without_interval_is_unclear(tmp_path):
    """As of a single test image, or where the comparison is missing."""
    scores = {"base": 0.3, "sft": 0.4, "strict/grpo_stage1": 0.4, "strict/grpo_stage2": 0.5}
    found = conclusion(results_of(tmp_path, scores, suites=("coco",)), CHAIN, *BENCHMARK, {})
    assert found.answer == "Unclear" and found.reasons[0] == "no interval for the change from base"
    assert "moved coco AP" in found.sentence and "(stage 1 +10.0, stage 2 +10.0), without an interval" in found.sentence
    assert found.sentence.endswith("the SFT baseline reached 40.0 (difference +10.0, without an interval).")
    assert found.reasons[-1] == "no interval for the difference from SFT"


def test_sft_is_not_compared_with_itself(tmp_path):
    found = concluded(results_of(tmp_path, {"base": 0.3, "sft": 0.5}, suites=("coco",)), [["sft"]])
    assert (found.answer, found.reasons) == ("Yes", ("higher than base",)) and found.sentence.endswith("+20.2.")


@pytest.mark.parametrize(
    ("from_sft", "from_stage1", "answer", "reasons"),
    [
        ((0.01, 0.1), (-0.1, -0.01), "Partly", ["higher than SFT", "worse after stage 2 than before it"]),
        ((0.01, 0.1), (-0.1, 0.01), "Yes", ["higher than SFT"]),
        ((-0.01, 0.1), (-0.1, 0.01), "Yes", ["no clear difference from SFT"]),
    ],
)
def test_each_difference_is_judged_by_its_interval(tmp_path, from_sft, from_stage1, answer, reasons):
    scores = {"base": 0.3, "sft": 0.45, "strict/grpo_stage1": 0.55, "strict/grpo_stage2": 0.5}
    results, intervals = results_of(tmp_path, scores, suites=("coco",)), {}
    for other, interval in (("base", (0.1, 0.3)), ("sft", from_sft), ("strict/grpo_stage1", from_stage1)):
        intervals["strict/grpo_stage2", other, *BENCHMARK] = interval
    found = conclusion(results, CHAIN, *BENCHMARK, intervals)
    assert (found.answer, list(found.reasons)) == (answer, ["higher than base", *reasons])
