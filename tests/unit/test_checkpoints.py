import os

import pytest

from vision_r1.training.checkpoints import (
    fingerprint,
    is_complete,
    last_complete,
    mark_complete,
    prune,
    remove_incomplete,
)


def checkpoint(state, step, mark=True):
    folder = state / f"checkpoint-{step}"
    (folder / "shards").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "shards/0.pt").write_bytes(b"optimiser")
    if mark:
        mark_complete(folder, seconds=1.5)
    return folder


def truncate(folder):
    (folder / "model.safetensors").write_bytes(b"weig")


def lose_a_file(folder):
    (folder / "shards/0.pt").unlink()


def lose_the_mark(folder):
    (folder / "complete.json").unlink()


@pytest.mark.parametrize("damage", [truncate, lose_a_file, lose_the_mark])
def test_a_damaged_checkpoint_is_passed_over_and_removed(damage, tmp_path):
    older, newest = checkpoint(tmp_path, 75), checkpoint(tmp_path, 100)
    assert last_complete(tmp_path) == newest
    damage(newest)
    assert not is_complete(newest)
    assert last_complete(tmp_path) == older
    remove_incomplete(tmp_path)
    assert older.is_dir() and not newest.exists()


def test_no_state_no_checkpoint(tmp_path):
    assert last_complete(tmp_path / "nowhere") is None
    remove_incomplete(tmp_path / "nowhere")


def test_states_of_the_last_two_trainings_are_kept(tmp_path):
    for age, name in enumerate(["new", "older", "oldest"]):
        checkpoint(tmp_path / name, 10)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "older"]


def test_what_snakemake_adds_to_an_output_folder_does_not_count(tmp_path):
    folder = checkpoint(tmp_path, 10)
    (folder / ".snakemake_timestamp").write_text("")
    assert is_complete(folder)


def test_fingerprint_follows_contents_and_settings_not_places(tmp_path):
    for place, rows, weights in (("a", "1", b"w"), ("b", "1", b"w"), ("c", "2", b"w"), ("d", "1", b"v")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "train.jsonl").write_text(rows)
        (tmp_path / place / "model.safetensors").write_bytes(weights)

    def of(place, **settings):
        return fingerprint(tmp_path / place / "train.jsonl", [str(tmp_path / place)], settings)

    assert of("a", beta=0.04) == of("b", beta=0.04)
    assert len({of("a", beta=0.04), of("c", beta=0.04), of("d", beta=0.04), of("a", beta=0.0)}) == 4
