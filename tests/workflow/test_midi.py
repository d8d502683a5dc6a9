"""The middle-sized run with a tiny model on a CPU: its world, its protocols, its training."""

import json

import pytest
import yaml

pytestmark = pytest.mark.slow


def test_stage_2_is_trained_and_scored_in_the_midi_world(root, project):
    overlay = project.overlay(yaml.safe_load((root / "tests/midi_smoke.yaml").read_text()))
    target = "results/midi_smoke/metrics/strict/grpo_stage2/shapes.json"
    project.snakemake("--configfile", "config/midi.yaml", overlay, "--", target)
    metrics = json.loads((project.folder / target).read_text())
    assert len(metrics["protocols"]["released-one-prompt"]["datasets"]["scenes_test"]["per_category"]) == 24
    rows = (project.folder / "results/midi_smoke/data/train.jsonl").read_text().splitlines()
    assert {(row["width"], row["height"]) for row in map(json.loads, rows)} == {(336, 336)}
