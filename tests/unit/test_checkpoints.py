import os

import pytest

from vision_r1.files import read_json, sync
from vision_r1.training.checkpoints import (
    damaged_file,
    fingerprint,
    is_complete,
    last_complete,
    mark_complete,
    prune,
    prune_checkpoints,
    remove_damaged,
    sync_and_hash,
)
from vision_r1.training.settings import differences


def checkpoint(state, step, mark=True):
    folder = state / f"checkpoint-{step}"
    (folder / "shards").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "shards/0.pt").write_bytes(b"optimiser")
    if mark:
        mark_complete(folder, 1.5, sync_and_hash(folder))
    return folder


def truncate(folder):
    (folder / "model.safetensors").write_bytes(b"weig")


def lose_a_file(folder):
    (folder / "shards/0.pt").unlink()


def lose_the_mark(folder):
    (folder / "complete.json").unlink()


def zeros_in_the_mark(folder):
    zeros(folder, "complete.json")


def zeros(folder, name):
    """Write zeros, which a power cut leaves of a file that already had its size but whose content wasn't on disk."""
    (folder / name).write_bytes(bytes((folder / name).stat().st_size))


@pytest.mark.parametrize("damage", [truncate, lose_a_file, lose_the_mark, zeros_in_the_mark])
def test_a_damaged_checkpoint_is_skipped_and_removed(damage, tmp_path):
    older, newest = checkpoint(tmp_path, 75), checkpoint(tmp_path, 100)
    assert last_complete(tmp_path) == newest
    damage(newest)
    assert not is_complete(newest)
    assert last_complete(tmp_path) == older
    remove_damaged(tmp_path)
    assert older.is_dir() and not newest.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "shards/0.pt"])
def test_files_of_zeros_are_noticed_before_resuming(name, tmp_path, caplog):
    older, newest = checkpoint(tmp_path, 75), checkpoint(tmp_path, 100)
    assert damaged_file(newest) is None
    zeros(newest, name)
    assert is_complete(newest) and damaged_file(newest) == name
    remove_damaged(tmp_path)
    assert last_complete(tmp_path) == older
    assert f"checkpoint-100/{name}: damaged (a power cut?); falling back" in caplog.text
    zeros(older, name)
    remove_damaged(tmp_path)
    assert last_complete(tmp_path) is None


def test_processes_share_the_hashing(tmp_path):
    folder = checkpoint(tmp_path, 10, mark=False)
    shares = [sync_and_hash(folder, process, 2) for process in range(2)]
    assert sorted(name for share in shares for name in share) == ["model.safetensors", "shards/0.pt"]
    assert all(len(share) == 1 for share in shares)
    mark_complete(folder, 1.5, shares[0] | shares[1])
    assert damaged_file(folder) is None and read_json(folder / "complete.json")["seconds"] == 1.5


def test_all_files_are_on_disk_before_the_mark_is_written(tmp_path, monkeypatch):
    folder, order = checkpoint(tmp_path, 10, mark=False), []

    def note(path):
        order.append(path.name)

    monkeypatch.setattr("vision_r1.files._sync", note)
    mark_complete(folder, 1.5, sync_and_hash(folder))
    files = {"model.safetensors", "0.pt", "shards", "checkpoint-10", tmp_path.name}
    assert set(order[: order.index("complete.json")]) == files


def test_a_failed_sync_is_an_error(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError("no space left")

    (tmp_path / "file").write_text("text")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        sync(tmp_path / "file")


def test_a_folder_without_files_is_not_a_checkpoint(tmp_path):
    (tmp_path / "checkpoint-5").mkdir()
    assert not is_complete(tmp_path / "checkpoint-5")


def test_without_state_there_is_no_checkpoint(tmp_path):
    assert last_complete(tmp_path / "nowhere") is None
    remove_damaged(tmp_path / "nowhere")


def test_states_of_the_last_two_trainings_are_kept(tmp_path):
    new, older, oldest = (fingerprint({"seed": seed}) for seed in range(3))
    for age, name in enumerate([new, older, oldest, "thesis"]):
        checkpoint(tmp_path / name, 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {new, older, "thesis"}


def test_the_two_checkpoints_of_the_highest_steps_are_kept(tmp_path):
    """Times of change would mislead: a machine whose clock is an hour ahead may have written the older ones."""
    for step in (90, 100, 110):
        checkpoint(tmp_path, step)
        os.utime(tmp_path / f"checkpoint-{step}", (5000 - step, 5000 - step))
    (tmp_path / "completions").mkdir()
    prune_checkpoints(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-100", "checkpoint-110", "completions"}


def test_snakemakes_files_in_an_output_folder_are_ignored(tmp_path):
    folder = checkpoint(tmp_path, 10)
    (folder / ".snakemake_timestamp").write_text("")
    assert is_complete(folder)


def test_differences_name_settings_and_files():
    before = {
        **{"beta": 0.04, "criterion": {"quality": "giou"}, "train_file": "12", "same": [1]},
        **{"code": "a.py 1\nb.py 2\n", "engine": {"FSDP_VERSION": "2"}},
    }
    now = {
        **{"beta": 0.0, "criterion": {"quality": "iou"}, "train_file": "34", "same": [1]},
        **{"code": "a.py 1\nb.py 3\nc.py 4\n", "engine": {}, "added": 5},
    }
    assert differences(before, now) == [
        *("added None -> 5", "beta 0.04 -> 0.0", "code b.py", "code c.py", "criterion quality 'giou' -> 'iou'"),
        *("engine FSDP_VERSION '2' -> None", "train_file"),
    ]
    assert differences(now, now) == []
    assert fingerprint(before) != fingerprint(now)


def test_only_the_checkpoint_that_is_resumed_from_is_read(tmp_path):
    older, newest = checkpoint(tmp_path, 75), checkpoint(tmp_path, 100)
    (older / "model.safetensors").write_bytes(bytes(7))
    remove_damaged(tmp_path)
    assert older.is_dir() and last_complete(tmp_path) == newest


def test_other_folders_are_no_checkpoints(tmp_path):
    newest = checkpoint(tmp_path, 100)
    (tmp_path / "checkpoint-best").mkdir()
    remove_damaged(tmp_path)
    assert last_complete(tmp_path) == newest and (tmp_path / "checkpoint-best").is_dir()
