"""The audit gets the rewards of the configuration, just as its trainings do."""

import json
import shlex


def audited(project, *words):
    """Return checkpoint -> reward of the command that the rule would run."""
    printed = project.snakemake(*words, "--dry-run", "--printshellcmds", "--", "audit").stdout
    command = shlex.split(next(line for line in printed.splitlines() if "audit_rewards.py" in line))
    places = [place for place, word in enumerate(command) if word == "--criterion"]
    return {command[place + 1]: json.loads(command[place + 2]) for place in places}


def test_the_configured_rewards_are_audited(project):
    before = audited(project)
    assert before["strict/grpo_stage1"] == {
        "criterion": "strict",
        "recall_threshold": 0.5,
        "precision_low": 0.5,
        "precision_high": 0.75,
    }
    changed = {
        "report": {"experiments": ["released_2025", "without_recall_with_count"], "training_seeds": [0, 1]},
        "experiments": {"released_2025": {"reward": {"label_aware": True}}},
        "grpo_stage2": {"precision_high": 0.8},
    }
    after = audited(project, "--configfile", project.overlay(changed))
    stages = ("grpo_stage1", "grpo_stage2")
    assert [*after] == [f"{arm}/{stage}" for arm in changed["report"]["experiments"] for stage in stages]
    assert after["released_2025/grpo_stage2"] == {
        "criterion": "released_2025",
        "label_aware": True,
        "recall_threshold": 0.75,
        "precision_low": 0.75,
        "precision_high": 0.8,
    }
    assert after["without_recall_with_count/grpo_stage1"]["reward_weights"] == [1.0, 0.0, 1.0, 1.0]


def test_keys_that_the_audit_does_not_read_do_not_rerun_it(project):
    other = {"grpo": {"learning_rate": 1.0e-6}, "sft": {"max_steps": 7}}
    assert audited(project, "--configfile", project.overlay(other)) == audited(project)
