"""Predictions that are interrupted, shared by several processes, or done before: each question is answered once."""

import logging
import os
import subprocess
import sys
import time

import predict_suite
import pytest
from predict_suite import main
from prediction_words import WRITTEN, words

from vision_r1.evaluation.generation import Generator
from vision_r1.files import read_jsonl

pytestmark = pytest.mark.usefixtures("one_thread")


class Interrupted(Exception):
    pass


def test_resumes_after_an_interruption(predicted, tiny_checkpoint, datasets, tmp_path, monkeypatch, caplog):
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)
    answer, batches = Generator.answer, []

    def counted(self, questions, images):
        if len(batches) == 2:
            raise Interrupted
        batches.append(len(questions))
        return answer(self, questions, images)

    monkeypatch.setattr(Generator, "answer", counted)
    with pytest.raises(Interrupted):
        main(arguments)
    partial = tmp_path / "suite.partial.jsonl"
    with partial.open("a", encoding="utf-8") as file:
        file.write('[{"completion": "cut off')
    assert not output.exists()
    batches[:] = [0, 0, 0]
    with caplog.at_level(logging.INFO):
        main(arguments)
    assert "8 of 20 questions were answered before" in caplog.text
    assert sum(batches) == 12
    assert read_jsonl(output) == predicted and not partial.exists()


def test_another_run_s_partial_file_is_not_used(tiny_checkpoint, datasets, tmp_path, predicted, caplog):
    output = tmp_path / "suite.jsonl"
    (tmp_path / "suite.partial.jsonl").write_text('{"checkpoint": "other"}\n[{"completion": "of another run"}]\n')
    main(words(tiny_checkpoint, datasets, output))
    assert "ignoring stale partial results" in caplog.text
    assert read_jsonl(output) == predicted


def test_resumes_with_another_number_of_processes(tiny_checkpoint, datasets, predicted, tmp_path, caplog, monkeypatch):
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)
    monkeypatch.setattr("vision_r1.progress.PAUSE", 0)
    with caplog.at_level(logging.INFO), monkeypatch.context() as second:
        second.setenv("RANK", "1")
        second.setenv("WORLD_SIZE", "2")
        main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["suite.partial-2of2.jsonl"]
    assert "progress 8/8 prompts" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        main(arguments)
    assert "8 of 20 questions were answered before" in caplog.text and "progress 12/12 prompts" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN
    assert read_jsonl(output) == predicted


def test_complete_answers_are_gathered_without_loading_a_model(
    tiny_checkpoint, datasets, predicted, tmp_path, monkeypatch
):
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)

    def interrupted(*arguments):
        raise Interrupted

    with monkeypatch.context() as break_:
        break_.setattr("vision_r1.evaluation.predict.gather", interrupted)
        with pytest.raises(Interrupted):
            main(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["suite.partial.jsonl"]
    monkeypatch.setattr(Generator, "__init__", pytest.fail)
    main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN
    assert read_jsonl(output) == predicted


def test_a_process_that_starts_after_the_answers_are_gathered_has_nothing_to_do(
    tiny_checkpoint, datasets, predicted, tmp_path, monkeypatch
):
    """The first of two processes found all batches of an earlier attempt; on another node the second starts later."""
    output = tmp_path / "suite.jsonl"
    arguments = words(tiny_checkpoint, datasets, output)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        main(arguments)
    assert read_jsonl(output) == predicted
    monkeypatch.setattr(Generator, "__init__", pytest.fail)
    monkeypatch.setenv("RANK", "1")
    main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN


def test_an_output_that_snakemake_deleted_is_restored_without_a_model(
    tiny_checkpoint, datasets, predicted, tmp_path, monkeypatch
):
    output = tmp_path / "suite.jsonl"
    main(words(tiny_checkpoint, datasets, output))
    output.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Generator, "__init__", pytest.fail)
        main(words(tiny_checkpoint, datasets, output))
    assert read_jsonl(output) == predicted


@pytest.mark.slow
def test_two_processes_of_a_launcher_write_the_same_bytes(tiny_checkpoint, datasets, predicted, tmp_path):
    """They start as under accelerate launch; one is killed in the middle of a line, and both are restarted."""
    output = tmp_path / "suite.jsonl"
    command = [sys.executable, predict_suite.__file__, *words(tiny_checkpoint, datasets, output)]

    def start(rank):
        environment = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    first = start(0)
    partial = tmp_path / "suite.partial-1of2.jsonl"
    while not partial.exists() or partial.read_text().count("\n") < 2:
        assert first.poll() is None
        time.sleep(0.05)
    first.kill()
    first.communicate()
    with partial.open("a", encoding="utf-8") as file:
        file.write('[2, [{"completion": "cut off')
    processes = [start(0), start(1)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    main(words(tiny_checkpoint, datasets, tmp_path / "one.jsonl"))
    assert output.read_bytes() == (tmp_path / "one.jsonl").read_bytes()
    assert read_jsonl(output) == predicted
    assert not list(tmp_path.glob("*partial*"))
