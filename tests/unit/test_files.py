"""Files are written completely or not at all; errors name the file, and no user's mistake ends in a traceback."""

import os
import subprocess
from pathlib import Path

import pytest

from vision_r1.cli import run
from vision_r1.files import (
    UserError,
    check_place,
    hash_folder,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
    write_text,
    written_whole,
)


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "deep/er/file.txt"
    with written_whole(path) as partial:
        partial.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "file.json", "old")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "file.json", [1, float("nan")])
    with pytest.raises(ZeroDivisionError):
        write_jsonl(tmp_path / "file.json", (1 / number for number in (1, 0)))
    assert (tmp_path / "file.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["file.json"]


def test_a_full_disk_is_reported_in_one_line_with_the_path(tmp_path):
    write_text(tmp_path / "file", "old")
    with (
        pytest.raises(UserError, match=r"file: no space left on its disk \([\d,]+ MB are free\); make room"),
        written_whole(tmp_path / "file"),
    ):
        Path("/dev/full").write_text("new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_files_in_a_folder_are_as_readable_as_the_folder(tmp_path):
    with written_whole(tmp_path / "model") as partial:
        partial.mkdir(mode=0o755)
        (partial / "model.safetensors").touch(mode=0o600)
        (partial / "config.json").touch(mode=0o640)
        os.link(partial / "model.safetensors", tmp_path / "kept")  # as the weights of a state are
    assert [
        oct((tmp_path / "model" / name).stat().st_mode & 0o777) for name in ("model.safetensors", "config.json")
    ] == [
        "0o644",
        "0o640",
    ]


def test_a_folder_is_replaced_and_leftovers_of_a_killed_process_are_removed(tmp_path):
    left = tmp_path / ".model.1.partial"
    for folder in (tmp_path / "model", left):
        folder.mkdir()
        (folder / "weights").write_text("old")
    with written_whole(tmp_path / "model") as partial:
        partial.mkdir()
        (partial / "weights").write_text("new")
    assert (tmp_path / "model/weights").read_text() == "new"
    assert os.listdir(tmp_path) == ["model"]


def test_a_file_does_not_replace_a_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("dear")
    with pytest.raises(UserError, match="mine: is a folder"):
        write_text(tmp_path / "mine", "new")
    assert (tmp_path / "mine/notes.txt").read_text() == "dear" and os.listdir(tmp_path) == ["mine"]
    with pytest.raises(UserError, match=r"\.: is a folder"):
        write_text(".", "new")


def test_what_the_system_keeps_in_dev_and_proc_is_not_replaced():
    for path in ("/dev/stdout", "/dev/null", "/dev/fd/1", "/proc/self/fd/1", "/dev/new.json"):
        with pytest.raises(UserError, match=f"{path}: a device or a pipe"):
            check_place(path)
    check_place("/dev/shm/new.json")


def test_only_files_and_folders_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("dear")
    for name, message in (
        ("pipe", "pipe: a device or a pipe, which would be replaced"),
        ("file/below.json", "below.json: can't be written, as .*file is not a folder"),
    ):
        with pytest.raises(UserError, match=message):
            write_text(tmp_path / name, "new")
    with pytest.raises(UserError, match="file: is a file, which a folder does not replace"):
        with written_whole(tmp_path / "file") as partial:
            partial.mkdir()
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "file").read_text() == "dear"
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_sealed_folder_does_not_replace_one_with_other_files(tmp_path):
    (tmp_path / "mine/other").mkdir(parents=True)
    with pytest.raises(UserError, match="mine: holds other files, which would be lost"):
        with written_whole(tmp_path / "mine", sealed=True) as partial:
            partial.mkdir()
    assert os.listdir(tmp_path / "mine") == ["other"]
    for name in ("new", "new", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with written_whole(tmp_path / name, sealed=True) as partial:
            partial.mkdir()
            (partial / "weights").touch()


def test_written_values_are_read_back(tmp_path):
    rows = [{"text": "a\u2028b\nc"}, [1.5, None], "ü"]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows
    write_json(tmp_path / "rows.json", rows)
    assert read_json(tmp_path / "rows.json") == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": [1, 2', "not valid JSON.*cut off"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"bad.json: .*{message}"):
        read_json(path)
    path.write_bytes(b'{"fine": 1}\n' + content)
    with pytest.raises(UserError, match="bad.json: .*(line 2|not UTF-8)"):
        read_jsonl(path)


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_a_path_without_a_file_is_named(tmp_path, read):
    with pytest.raises(UserError, match="nothing: no such file"):
        read(tmp_path / "nothing")
    for folder in (tmp_path, "."):
        with pytest.raises(UserError, match="can't be read"):
            read(folder)


@pytest.mark.parametrize("error", [UserError("the file, the item, the remedy"), PermissionError(13, "denied", "x")])
def test_a_users_mistake_is_reported_in_one_line(error):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as stopped:
        run(main, [])
    assert str(stopped.value) == f"error: {error}"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError):
        run(lambda argv: {}[argv], "missing")


def test_a_changed_sealed_file_is_refused(tmp_path):
    file, seal = tmp_path / "scores.json", tmp_path / ".scores.json.sha256"
    write_json(file, {"AP": 0.5}, sealed=True)
    assert read_json(file) == {"AP": 0.5}
    message = f"scores.json: damaged or edited .* delete {file} and .* delete {seal} if"
    for damaged in (b"", b'{\n  "AP": 0.7\n}\n', file.read_bytes()[:-4]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=message):
            read_json(file)
    seal.unlink()  # as the message suggests
    file.write_bytes(b'{"AP": 0.7}')
    assert read_json(file) == {"AP": 0.7}
    write_json(file, {"AP": 0.5}, sealed=True)
    write_json(file, {"AP": 0.6})
    assert read_json(file) == {"AP": 0.6} and not seal.exists(), "the old file's seal is gone"


def test_sha256sum_checks_a_seal(tmp_path):
    write_json(tmp_path / "scores.json", {"AP": 0.5}, sealed=True)
    words = ["sha256sum", "--check", "--quiet", ".scores.json.sha256"]
    assert subprocess.run(words, cwd=tmp_path).returncode == 0
    (tmp_path / "scores.json").write_text("{}")
    assert subprocess.run(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 1


def test_a_seal_emptied_by_a_power_cut_is_ignored(tmp_path):
    write_json(tmp_path / "scores.json", {"AP": 0.5}, sealed=True)
    (tmp_path / ".scores.json.sha256").write_bytes(b"")
    assert read_json(tmp_path / "scores.json") == {"AP": 0.5}


@pytest.mark.parametrize("change", ["edit", "remove", "add"])
def test_a_changed_sealed_folder_is_refused(tmp_path, change):
    folder = tmp_path / "model"
    with written_whole(folder, sealed=True) as partial:
        partial.mkdir()
        (partial / "config.json").write_text("{}")
        (partial / "chat_template.jinja").write_text("{{ messages }}")
    (folder / ".snakemake_timestamp").touch()
    (folder / "README.md").write_text("a card")
    assert set(hash_folder(folder)) == {"config.json", "chat_template.jinja"}
    if change == "edit":
        (folder / "chat_template.jinja").write_text("{{ message }}")
    elif change == "remove":
        (folder / "chat_template.jinja").unlink()
    else:
        (folder / "chat_template.json").write_text("{}")
    with pytest.raises(UserError, match=r"chat_template\.\w+: damaged or edited .* delete .*/model/seal.sha256 if"):
        hash_folder(folder)
    assert set(hash_folder(folder, ["config.json"])) == {"config.json"}, "only the requested files are checked"
    (folder / "seal.sha256").unlink()
    assert "config.json" in hash_folder(folder)
