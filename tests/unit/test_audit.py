"""The audit: perturbations start at the right answer and grow, AP equals pycocotools', known blind spots are found."""

import json

import numpy as np
import pytest

pytest.importorskip("hotcoco")
from vision_r1.audit import (
    OTHERS,
    PUBLISHED,
    Reward,
    ap_and_f1,
    audit,
    audited,
    loopholes,
    rank_correlation,
)
from vision_r1.frames import Frame
from vision_r1.parsing import parse
from vision_r1.perturbations import BOX_FAMILIES, ERROR_FAMILIES, Answer, perturb
from vision_r1.rewards import CRITERIA, Criterion

LABELS = ["circle", "square", "triangle"]


def make_rows(count, frame="pixel"):
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        low = rng.integers(0, 300, (index % 5, 2))  # every fifth image has none
        boxes = np.concatenate([low, low + rng.integers(60, 180, low.shape)], axis=1).astype(float).tolist()
        objects = [{"label": LABELS[rng.integers(3)], "bbox": box} for box in boxes]
        size = {"width": 500, "height": 500, "input_width": 504, "input_height": 504}
        rows.append(size | {"frame": frame, "objects": objects, "categories": LABELS})
    return rows


@pytest.fixture(scope="module")
def records():
    rewards = {name: Reward(Criterion.named(name, "stage1")) for name in CRITERIA}
    return audit([row for row in make_rows(25) if row["objects"]], rewards, seed=0)


def of(records, criterion, family):
    return [r for r in records if (r["criterion"], r["family"]) == (criterion, family)]


def test_released_2025_ignores_spam_duplicates_and_labels_and_strict_does_not(records):
    blind = {(found["criterion"], found["family"]) for found in loopholes(records)}
    for family in ("spam", "duplicates", "wrong_labels", "unknown_labels"):
        assert ("released_2025", family) in blind
        assert ("strict", family) not in blind


def test_strict_follows_ap_more_closely(records):
    correlation = {name: rank_correlation([r for r in records if r["criterion"] == name]) for name in CRITERIA}
    assert correlation["strict"] > 0.75 > correlation["released_2025"]


def test_every_family_starts_at_the_right_answer(records):
    for family in ERROR_FAMILIES:
        first, *worse = of(records, "strict", family)
        assert (first["strength"], first["ap"], first["reward"]) == pytest.approx((0, 1, 3))
        aps = [record["ap"] for record in worse]
        assert aps == sorted(aps, reverse=True)
        assert (aps[-1] < 0.5) == (family != "prose")


@pytest.mark.parametrize("family", BOX_FAMILIES)
def test_box_families_survive_lone_objects_and_empty_images(family):
    frame = Frame("rel1000", 500, 400, 504, 392)
    for count in (0, 1):
        boxes = np.array([[100.0, 100, 200, 200]])[:count]
        answer = Answer(boxes, ["cat"] * count, np.array([500.0, 400]), ["cat"])
        for strength in (0, 0.5, 1):
            parsed = parse(perturb(family, strength, answer, frame, np.random.default_rng(0)))
            assert parsed.well_formed
            if strength == 0:
                assert frame.to_original(parsed.boxes) == pytest.approx(boxes, abs=0.5)


def test_ap_and_f1_by_hand():
    box, other = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 50, 60, 60]])
    truth = [(box, ["a"]), (box, ["B"])]
    for found, ap, f1 in [
        (truth, 1, 1),
        ([(box, [" A"]), (other, ["b"])], 0.5, 0.5),
        # A label that nobody asked for costs AP nothing, and is a false box for F1.
        ([(box, ["a"]), (np.vstack([box, box]), ["b", "stranger"])], 1, 4 / 5),
        ([(box, ["a"]), (box, ["stranger"])], 0.5, 0.5),
        ([(np.zeros((0, 4)), [])] * 2, 0, 0),
    ]:
        assert ap_and_f1(truth, found) == pytest.approx({"ap": ap, "f1": f1})
    # IoU 80 / 100 reaches the thresholds 0.5 to 0.75 and 0.8.
    assert ap_and_f1(truth[:1], [(box * [1, 1, 1, 0.8], ["a"])]) == pytest.approx({"ap": 0.7, "f1": 0.7})


def test_rewards_of_other_methods_are_audited_only_if_they_are_configured():
    rows = [row for row in make_rows(15) if row["objects"]]
    rex_omni = Reward.of({"criterion": "rex_omni"})
    entries = audited({"rex_omni/grpo_stage1": rex_omni})
    assert (entries[0]["name"], entries[0]["published"]) == ("rex_omni/grpo_stage1", "rex_omni")
    assert {entry["name"] for entry in entries[1:]} == set(PUBLISHED)
    records = audit(rows, {"strict": Reward(Criterion.named("strict", "stage1")), **OTHERS}, seed=0)
    for name in OTHERS:
        assert of(records, name, "jitter")[0]["reward"] == pytest.approx(3, abs=0.05)  # coordinates are rounded
    for record in of(records, "vlm_r1_weighted_sum", "missed"):
        parts = [record[f"rewards/{part}"] for part in ("format", "iou", "completeness")]
        assert record["reward"] == pytest.approx(np.dot(parts, [1.5, 1.05, 0.45]))
    blind = {(found["criterion"], found["family"]) for found in loopholes(records)}
    assert ("rex_omni_code", "duplicates") in blind and ("rex_omni", "duplicates") not in blind
    own = [record for record in records if record["criterion"] == "rex_omni"]
    assert rank_correlation(own, "f1") != rank_correlation(own, "ap")


def test_rows_of_a_relative_frame():
    rows = make_rows(10, "rel1000")
    rewards = {"strict": Reward(Criterion.named("strict"))}
    records = audit(rows, rewards, seed=1)
    assert of(records, "strict", "jitter")[0]["ap"] > 0.99
    assert json.dumps(records) == json.dumps(audit(rows, rewards, seed=1))


STAGE1 = {"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75}


def test_equal_rewards_are_audited_once_and_published_ones_recognised():
    ours, stage2 = {"criterion": "strict", **STAGE1}, {"recall_threshold": 0.75, "precision_low": 0.6}
    settings = {
        "strict/grpo_stage1": ours,
        "step_1/grpo_stage1": ours | {"reward_weights": [0.5, 0.5, 0.5]},
        "step_1/grpo_stage2": ours | stage2,
        "released_2025/grpo_stage1": {"criterion": "released_2025", **STAGE1},
    }
    entries = audited({name: Reward.of(values) for name, values in settings.items()})
    first, second, third, *rest = [(entry["name"], entry["checkpoints"], entry["published"]) for entry in entries]
    assert first == ("strict/grpo_stage1", ["strict/grpo_stage1", "step_1/grpo_stage1"], None)
    assert second == ("step_1/grpo_stage2", ["step_1/grpo_stage2"], None)
    assert third == ("released_2025/grpo_stage1", ["released_2025/grpo_stage1"], "released_2025, stage1")
    assert rest == [(name, [], name) for name in PUBLISHED if name != "released_2025, stage1"]
    assert (entries[1]["reward"].criterion.recall_threshold, entries[1]["reward"].criterion.precision_low) == (
        0.75,
        0.6,
    )


def test_changed_parts_and_weights_are_audited():
    rows = [row for row in make_rows(15) if row["objects"]]
    paper = {"criterion": "paper", **STAGE1}
    settings = {
        "paper": paper,
        "aware": paper | {"label_aware": True},
        "count": paper | {"reward_weights": [1, 0, 1, 1]},
    }
    records = audit(rows, {name: Reward.of(values) for name, values in settings.items()}, seed=0)
    blind = {(found["criterion"], found["family"]) for found in loopholes(records)}
    assert {("paper", "wrong_labels"), ("paper", "duplicates")} <= blind
    assert ("aware", "wrong_labels") not in blind
    assert ("count", "duplicates") not in blind
    for record in of(records, "count", "missed"):
        assert record["reward"] == pytest.approx(
            sum(record[f"rewards/{part}"] for part in ("dual_format", "precision", "count"))
        )


@pytest.mark.parametrize("weights", [[1, 1], [0, 0, 0], [1, -1, 1]])
def test_invalid_weights(weights):
    with pytest.raises(ValueError, match="reward_weights: "):
        Reward.of({"criterion": "strict", **STAGE1, "reward_weights": weights})
