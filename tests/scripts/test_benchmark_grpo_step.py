import logging
import sys

import pytest


@pytest.fixture
def grpo_step(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    import grpo_step

    yield grpo_step
    logging.disable(logging.NOTSET)


def test_it_takes_every_arms_step_apart(grpo_step, monkeypatch, capsys):
    few = {"prompts": 2, "generations": 2, "length": 2, "steps": 2, "rounds": 1, "beta": 0.04}
    words = [word for name, value in few.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["grpo_step.py", *words])
    grpo_step.main()
    printed = capsys.readouterr().out
    for part in (*grpo_step.PARTS, "completions/s"):
        (line,) = [line for line in printed.splitlines() if line.strip().startswith(part)]
        values = [float(value) for value in line.strip()[len(part) :].split()]
        assert len(values) == 3 and all(value >= 0 for value in values)
        if part in ("generation", "log-probabilities", "backward"):
            assert all(value > 0 for value in values)
