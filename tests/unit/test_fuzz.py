"""A few hundred damaged inputs for each reader; `make fuzz` gives as many as there is time for."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("kind", "count"), [("answers", 2000), ("annotations", 150), ("predictions", 150), ("configurations", 60)]
)
def test_damaged_input_is_read_or_refused(root, kind, count):
    words = [sys.executable, root / "tests/fuzz.py", "--kinds", kind, "--count", str(count), "--seed", "7"]
    finished = subprocess.run(words, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"{kind}: {count:,} inputs" in finished.stdout
