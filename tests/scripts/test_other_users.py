"""What another user of the machine can do to a run, tried as that user (which only root can become)."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def place():
    """A folder where everybody can write; pytest's are only for their owner."""
    if not shutil.which("setpriv") or os.getuid() != 0:
        pytest.skip("needs root and setpriv")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        if subprocess.run([*NOBODY, sys.executable, "-c", "import psutil"], cwd=folder).returncode:
            pytest.skip("another user can't start this Python")
        yield Path(folder)


def start(words, folder, **environment):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(list(map(str, words)), cwd=folder, env={**os.environ, **environment}, **options)


def test_a_link_planted_in_place_of_a_gpu_lock_damages_no_file(root, place):
    precious, locks = place / "precious", place / "vision_r1_gpus_0/all"
    precious.write_text("kept")
    precious.chmod(0o600)
    planted = f"mkdir -p {locks} && ln -s {precious} {locks}/queue.lock && ln -s {precious} {locks}/0.lock"
    subprocess.run([*NOBODY, "sh", "-c", planted], check=True)
    words = [sys.executable, root / "workflow/scripts/launch_job.py", "--gpus", "1", "--", "echo", "started"]
    finished = start(words, place, TMPDIR=str(place), CUDA_VISIBLE_DEVICES="0")
    assert finished.returncode == 1
    assert finished.stdout == f"error: {locks.parent}: not a folder of yours; remove it, or set TMPDIR\n"
    assert precious.read_text() == "kept"


def test_another_users_lock_is_left_alone(root, place):
    lock = place / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("results/data/train.jsonl\n")
    for path in (lock.parent.parent, lock.parent, lock):
        path.chmod(0o777)
    job = [sys.executable, "-c", "import time; time.sleep(600)", "workflow/scripts/train_grpo.py"]
    with subprocess.Popen(job, cwd=place) as working:
        try:
            time.sleep(0.5)
            for user in ((), NOBODY):
                finished = start([*user, sys.executable, root / "workflow/scripts/unlock_run.py"], place)
                assert finished.returncode == 1, finished.stdout
                assert "a run is still at work here, or may be (" in finished.stdout
                assert (
                    f"{working.pid} of root" in finished.stdout
                )  # among root's other processes, whose folders can't be seen
        finally:
            working.kill()
    assert lock.exists()
