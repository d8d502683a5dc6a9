import numpy as np
import pytest

from vision_r1.evaluation.compare import Measured, compare, read_comparison, read_measured, write_resamples
from vision_r1.evaluation.published import MEAN
from vision_r1.files import UserError, write_json

METRICS = ("AP", "AP50", "AP75")
rng = np.random.default_rng(0)
FINE = rng.normal(0, 1e-6, 1000)
NOISE = {name: rng.normal(0, 0.05, 1000) for name in ("a", "b", "c")}


def measured(values, suite="odinw13", protocol="all", incomplete=(), images=50):
    """A checkpoint with these APs by data set; all checkpoints share the noise of the images."""
    datasets = {
        name: {"AP": value, "counts": {"images": images, "ground_truth": 2 * images}} for name, value in values.items()
    }
    mean = None if incomplete else {metric: float(np.mean(list(values.values()))) for metric in METRICS}
    metrics = {protocol: {"mean": mean, "incomplete": list(incomplete), "datasets": datasets}}
    # What two checkpoints don't share varies little; without it their difference would have no spread to judge by.
    samples = {metric: {name: value * (1 + FINE) + NOISE[name] for name, value in values.items()} for metric in METRICS}
    return Measured("file", suite, metrics, {protocol: samples})


def test_a_shared_shift_is_significant_however_noisy_the_images_are():
    lines = compare("sft", [measured({"a": 0.32, "b": 0.5})], "base", [measured({"a": 0.3, "b": 0.5})])
    mean, _, _, first, second = lines
    assert [line.dataset for line in lines] == [MEAN, MEAN, MEAN, "a", "b"]
    assert [line.metric for line in lines] == [*METRICS, "AP", "AP"]
    assert (mean.objects, first.objects) == (200, 100)
    assert (mean.value, mean.reference_value) == (pytest.approx(0.41), pytest.approx(0.4))
    assert (first.difference, first.low, first.high) == pytest.approx((0.02, 0.02, 0.02), abs=1e-6)
    assert first.p == pytest.approx(2 / 1001) and first.significant and not first.regression
    assert (second.difference, second.p, second.significant) == (0, 1, False)


def test_a_drop_is_a_regression_of_its_data_set_only():
    own = measured({"a": 0.4, "b": 0.2, "c": 0.3})
    noisy = own.samples["all"]["AP"]["c"] + rng.normal(0, 0.05, 1000)
    own.samples["all"]["AP"]["c"] = noisy - 0.02
    lines = compare("x", [own], "base", [measured({"a": 0.3, "b": 0.4, "c": 0.32})])
    assert {line.dataset: line.regression for line in lines} == {MEAN: False, "a": False, "b": True, "c": False}
    assert lines[-1].low < 0 < lines[-1].high


def test_holm_over_the_benchmarks_of_one_table():
    def suite(name, protocol, shift, spread):
        own = measured({"a": 0.3 + shift}, name, protocol)
        own.samples[protocol]["AP"]["a"] = 0.3 + NOISE["a"] + shift + spread * NOISE["b"]
        return own

    shifts = {"one": (0.2, 1), "two": (0.1, 1), "three": (0.0, 1)}
    lines = compare(
        "x",
        [suite(name, "p", *each) for name, each in shifts.items()],
        "base",
        [suite(name, "p", 0, 0) for name in shifts],
    )
    first, second, third = (line for line in lines if line.dataset == MEAN and line.metric == "AP")
    assert first.p_holm == pytest.approx(3 * first.p)
    assert second.p_holm == pytest.approx(2 * second.p)
    assert third.p_holm == max(third.p, second.p_holm) and not third.significant
    # A family of one data set is not corrected.
    assert [line.p_holm for line in lines if line.dataset == "a"] == [line.p for line in lines if line.dataset == "a"]


def test_ap50_and_ap75_are_separate_families():
    """AP50 rises and AP75 falls significantly while AP stays; neither is corrected for the other."""
    own, base = measured({"a": 0.3}), measured({"a": 0.3})
    own.metrics["all"]["mean"] |= {"AP50": 0.4, "AP75": 0.25}
    own.samples["all"]["AP50"]["a"] = base.samples["all"]["AP50"]["a"] + 0.1 + FINE
    own.samples["all"]["AP75"]["a"] = base.samples["all"]["AP75"]["a"] - 0.05 + FINE
    ap, ap50, ap75, _ = compare("x", [own], "base", [base])
    assert (ap.difference, ap50.difference, ap75.difference) == pytest.approx((0, 0.1, -0.05))
    assert (ap50.low, ap75.high) == pytest.approx((0.1, -0.05), abs=1e-5)
    assert (ap.significant, ap50.significant, ap75.significant) == (False, True, True)
    assert ap50.p_holm == ap50.p and not ap75.regression  # regressions are of data sets only


def test_missing_measurements_stay_missing():
    lines = compare("x", [measured({"a": 0.3}, incomplete=["b"])], "base", [measured({"a": 0.2, "b": 0.4})])
    assert (lines[0].difference, lines[0].p, lines[0].significant) == (None, None, False)
    assert lines[3].difference == pytest.approx(0.1)
    with pytest.raises(UserError, match="suite 'odinw13': no metrics of the reference 'base'"):
        compare("x", [measured({"a": 0.3})], "base", [])
    with pytest.raises(UserError, match="a: not the same images"):
        compare("x", [measured({"a": 0.3})], "base", [measured({"a": 0.3}, images=51)])
    fewer = measured({"a": 0.3})
    fewer.samples["all"] = {metric: {"a": own["a"][:50]} for metric, own in fewer.samples["all"].items()}
    with pytest.raises(UserError, match="a: not the same images and resamples"):
        compare("x", [fewer], "base", [measured({"a": 0.3})])


def test_a_difference_without_an_interval_is_still_a_difference():
    own = measured({"a": 0.5})
    own.samples["all"]["AP"]["a"][:] = np.nan  # as of a set of one image
    mean = compare("sft", [own], "base", [measured({"a": 0.3})])[0]
    assert (mean.difference, mean.low, mean.p, mean.significant) == (pytest.approx(0.2), None, None, False)


def test_equal_differences_tell_nothing_of_their_spread():
    """All objects found in place of none: each resample has the same difference, of two images as of a hundred."""
    everything, nothing = measured({"a": 1.0}, images=2), measured({"a": 0.0}, images=2)
    everything.samples["all"]["AP"]["a"] = 1.0 + nothing.samples["all"]["AP"]["a"]
    *_, line = compare("sft", [everything], "base", [nothing])
    assert (line.difference, line.low, line.p, line.significant) == (1.0, None, None, False)


def test_a_comparison_of_an_older_version_is_refused(tmp_path):
    write_json(tmp_path / "c.json", {"note": "", "reference": "base", "tables": {}})
    with pytest.raises(UserError, match="c.json: not a comparison of this version; write it again with compare_check"):
        read_comparison(tmp_path / "c.json")


def test_files(tmp_path):
    own = measured({"a": 0.3})
    write_resamples(tmp_path / "r.npz", own.samples)
    write_json(tmp_path / "m.json", {"suite": "coco", "protocols": own.metrics})
    read = read_measured("coco", tmp_path / "m.json", tmp_path / "r.npz")
    assert (read.samples["all"]["AP75"]["a"] == own.samples["all"]["AP75"]["a"]).all() and read.metrics == own.metrics
    with pytest.raises(UserError, match="m.json: not the metrics of suite 'odinw13'"):
        read_measured("odinw13", tmp_path / "m.json", tmp_path / "r.npz")
    (tmp_path / "r.npz").write_bytes(b"PK cut")
    with pytest.raises(UserError, match="r.npz: damaged or edited since it was written"):
        read_measured("coco", tmp_path / "m.json", tmp_path / "r.npz")
    (tmp_path / ".r.npz.sha256").unlink()
    with pytest.raises(UserError, match="r.npz: not the resamples of score_suite.py"):
        read_measured("coco", tmp_path / "m.json", tmp_path / "r.npz")


def test_protocols_and_data_sets_that_only_one_checkpoint_has_are_left_out():
    own, base = measured({"a": 0.3, "b": 0.4}), measured({"a": 0.3})
    more = measured({"a": 0.3}, protocol="more")
    own.metrics["more"], own.samples["more"] = more.metrics["more"], more.samples["more"]
    assert {(line.protocol, line.dataset) for line in compare("x", [own], "base", [base])} == {
        ("all", MEAN),
        ("all", "a"),
    }
