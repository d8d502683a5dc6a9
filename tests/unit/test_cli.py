"""What all programs check of their arguments before they work."""

import io
import logging
import os
import sys

import pytest

from vision_r1.cli import parser, run, whole_number
from vision_r1.files import UserError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output_json", "folder"], "--output_json folder: is a folder; give another name"),
        (["--output_folder", "file"], "--output_folder file: is a file; give another name"),
        (["--output_json", "pipe"], "pipe: a device or a pipe"),
        (["--output_json", "file/x.json"], "file/x.json: can't be written, as file is not a folder"),
    ],
)
def test_an_output_that_can_t_be_written_is_named_before_the_work(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo("pipe")
    arguments = parser("A program.")
    arguments.add_argument("--output_json", metavar="FILE")
    arguments.add_argument("--output_folder", metavar="DIR")
    assert arguments.parse_args(["--output_json", "file", "--output_folder", "folder"]).output_json == "file"
    with pytest.raises(UserError, match=message):
        arguments.parse_args(words)


def test_a_terminal_of_another_encoding_shows_every_name(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    run(lambda argv: sys.stdout.write("é 图"), [])
    assert stdout.buffer.getvalue() == b"\xe9 \\u56fe"


def test_a_name_can_t_command_the_terminal(capsys, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)  # set back at the end
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # without pytest's, as in a program

    def main(argv):
        logging.getLogger().warning("%s", "a\x1b]0;owned\x07.jpg")
        raise UserError("b\x1b[31m.jpg: unreadable\nsecond line")

    with pytest.raises(SystemExit) as ending:
        run(main, [])
    assert str(ending.value) == "error: b\\u001b[31m.jpg: unreadable\nsecond line"
    assert capsys.readouterr().err.endswith("WARNING a\\u001b]0;owned\\u0007.jpg\n")


@pytest.mark.parametrize(
    ("text", "message"), [("0", "'0' is not a whole number of at least 1"), ("9" * 20, "too large; give at most 50")]
)
def test_a_number_out_of_range_is_named(capsys, text, message):
    arguments = parser("A program.")
    arguments.add_argument("--count", type=whole_number(1, 50))
    assert arguments.parse_args(["--count", "50"]).count == 50
    with pytest.raises(SystemExit):
        arguments.parse_args(["--count", text])
    assert message in capsys.readouterr().err
