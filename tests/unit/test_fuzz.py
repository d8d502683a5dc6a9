"""A hundred damaged inputs for each reader; `make fuzz` tries more, for as long as you like."""

import subprocess
import sys


def test_damaged_input_is_read_or_refused(root):
    words = [sys.executable, root / "tests/fuzz.py", "--count", "100", "--seed", "7"]
    finished = subprocess.run(words, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for kind in ("answers", "annotations", "predictions", "configurations"):
        assert f"{kind}: 100 inputs" in finished.stdout
