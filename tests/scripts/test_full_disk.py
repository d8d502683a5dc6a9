"""A disk that really fills up during a training: one line names it; with more space, the result has the same bits."""

import subprocess

import pytest
import train_sft
from training_helpers import arguments, weights_hash

from vision_r1.cli import run
from vision_r1.training.checkpoints import is_complete

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    """Return a function that mounts or enlarges a disk of a given number of bytes, and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def of(size):
        options = f"size={size},{'remount' if folder.is_mount() else 'rw'}"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True
        )
        if mounted.returncode:
            pytest.skip(f"only root can mount a disk: {mounted.stderr.strip()}")
        return folder

    yield of
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_training_fills_the_disk_and_resumes(disk, tiny_checkpoint, train_file, tmp_path, caplog):
    def train(out, state):
        options = {"state": state, "per_device_train_batch_size": 2, "max_steps": 4, "save_steps": 2}
        run(train_sft.main, arguments(tiny_checkpoint, train_file, out, **options))

    weights = (tiny_checkpoint / "model.safetensors").stat().st_size
    full = disk(6 * weights)  # one checkpoint (weights and two moments of Adam), not two
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            train(tmp_path / "harmed", full / "state")
        message = end.value.code
        assert message.startswith(f"error: {full}/state/") and "no space left on its disk (" in message
        assert "\n" not in message and not (tmp_path / "harmed").exists()
    (whole,) = [path.name for path in full.glob("state/*/checkpoint-*") if is_complete(path)]
    assert whole == "checkpoint-2"
    disk(20 * weights)
    caplog.set_level("INFO")
    train(tmp_path / "harmed", full / "state")
    assert "resuming from checkpoint-2" in caplog.text
    train(tmp_path / "calm", tmp_path / "state")
    assert weights_hash(tmp_path / "harmed/model") == weights_hash(tmp_path / "calm/model")
