"""A suite's predictions: each question answered once, batch by batch, resumed after a break, written whole."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vision_r1.evaluation.generation import Generator, Limits, Question
from vision_r1.evaluation.protocols import Request
from vision_r1.families import Family
from vision_r1.files import UserError, write_jsonl

log = logging.getLogger(__name__)

Answer = dict[str, Any]


def question_of(request: Request, family: Family) -> Question:
    """Return the question behind a request. Raises UserError for an image that the processor refuses."""
    protocol, image = request.protocol, request.image
    try:
        size = family.input_size(image.width, image.height, protocol.min_pixels, protocol.max_pixels)
    except ValueError as error:
        raise UserError(f"{image.path}: can't be shown to the model: {error}") from None
    limits = Limits(protocol.max_new_tokens, protocol.min_pixels, protocol.max_pixels)
    return Question(image.path, request.prompt, limits, *size)


def plan(questions: Sequence[Question], batch_size: int) -> list[list[Question]]:
    """Return batches of distinct questions with the same limits, the longest first.

    So a lack of memory shows at once, padding is short, and an image's questions stand together.
    """

    def order(question: Question) -> tuple:
        limits = [-limit for limit in asdict(question.limits).values()]
        pixels = question.input_width * question.input_height
        return *limits, -pixels, question.path, -len(question.prompt), question.prompt

    batches = []
    for _, same_limits in groupby(sorted(set(questions), key=order), key=lambda question: question.limits):
        group = list(same_limits)
        batches += [group[start : start + batch_size] for start in range(0, len(group), batch_size)]
    return batches


def predict(
    requests: Sequence[Request], generator: Generator, batch_size: int, output: Path, settings: Mapping[str, Any]
) -> None:
    """Answer requests and write one line each, in their order, to `output`.

    Finished batches are kept beside `output` until it is written. They are used again where checkpoint,
    questions, batches and `settings` (all else that decides an answer) are the same.
    """
    questions = [question_of(request, generator.family) for request in requests]
    batches = plan(questions, batch_size)
    partial = output.with_suffix(".partial.jsonl")
    header = {
        "checkpoint": fingerprint(generator.checkpoint),
        "batches": hashlib.sha256(repr(batches).encode()).hexdigest(),
        **settings,
    }
    done = finished_batches(partial, header)[: len(batches)]
    write_jsonl(partial, [header, *done])
    answers: dict[Question, Answer] = {}
    for batch, answered in zip(batches, done, strict=False):
        answers.update(zip(batch, answered, strict=True))
    total, started, before = sum(map(len, batches)), time.monotonic(), len(answers)
    if before:
        log.info("%d of %d questions were answered before; going on", before, total)
    with (
        partial.open("a", encoding="utf-8") as file,
        tqdm(total=total, initial=before, unit=" questions", mininterval=5) as progress,
    ):
        for batch in batches[len(done) :]:
            answered = generator.answer(batch)
            file.write(json.dumps(answered, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            answers.update(zip(batch, answered, strict=True))
            progress.update(len(batch))
    write_jsonl(output, lines(requests, questions, answers, generator.family))
    partial.unlink()
    seconds = time.monotonic() - started
    log.info("%d lines; %d questions answered in %.1f s", len(requests), total - before, seconds)


def lines(
    requests: Sequence[Request], questions: Sequence[Question], answers: Mapping[Question, Answer], family: Family
) -> Iterator[dict[str, Any]]:
    """Yield the predictions file's lines: what was asked, the image's frame, and the answer."""
    for request, question in zip(requests, questions, strict=True):
        yield {
            "dataset": request.dataset,
            "protocol": request.protocol.name,
            "image_id": request.image.id,
            "file_name": request.image.path,
            "prompt": request.prompt,
            "categories": list(request.categories),
            "width": request.image.width,
            "height": request.image.height,
            "input_width": question.input_width,
            "input_height": question.input_height,
            "frame": family.frame,
            **answers[question],
        }


def fingerprint(folder: str | Path) -> str:
    """Return a hash of a checkpoint: names and contents of its files."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def finished_batches(partial: Path, header: Mapping[str, Any]) -> list[list[Answer]]:
    """Return the whole lines of a partial file after its header; none where it belongs to other work."""
    if not partial.is_file():
        return []
    found: list[Any] = []
    for line in partial.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # cut by the break, like all that follows
            break
    if not found or found[0] != header:
        log.warning("%s: of another checkpoint, plan or program; not used", partial)
        return []
    return found[1:]
