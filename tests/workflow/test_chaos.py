"""Ten kills at random moments; `make chaos KILLS=100 MINUTES=40` does a hundred."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_killed_runs_end_with_the_outputs_of_an_undisturbed_one(root):
    words = [sys.executable, root / "tests/chaos.py", "--kills", "10", "--minutes", "60"]
    finished = subprocess.run(words, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    last = finished.stdout.rstrip().rpartition("\n")[2]
    assert re.fullmatch(r"10 kills in \d+ minutes; 0 outputs differ", last), finished.stdout
