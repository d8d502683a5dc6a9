"""The released_2025 criterion gives the released code's numbers, even for malformed answers."""

import json
from pathlib import Path

import pytest

from vision_r1.rewards import REWARD_THRESHOLDS, REWARDS, Criterion

GOLDEN = Path(__file__).parents[1] / "data/released_rewards.jsonl"


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize("stage", REWARD_THRESHOLDS)
def test_every_number(rows, stage):
    criterion = Criterion.named("released_2025", stage)
    compared, differing = 0, []
    for row in rows:
        for solution in (row["solution"], json.dumps(row["solution"])):
            score = criterion.score(row["completion"], row | {"frame": "pixel", "solution": solution})
            for name in REWARDS:
                compared += 1
                if abs(score.parts[name] - row["official"][stage][name]) > 1e-6:
                    differing.append((row["id"], row["kind"], name))
    assert not differing
    assert compared == 2 * 3 * 400


def test_strict_never_rewards_more_format(rows):
    for row in rows:
        row = row | {"frame": "pixel"}
        strict, released_2025 = (
            Criterion.named(name).score(row["completion"], row).parts["dual_format"]
            for name in ("strict", "released_2025")
        )
        assert strict <= released_2025
