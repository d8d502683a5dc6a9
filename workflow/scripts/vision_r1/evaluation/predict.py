"""A suite's predictions: each question answered once, batch by batch, resumed after a break, written whole.

Batches are planned over the whole list and numbered before anything is skipped, and shared out by number. So the
file is the same, however many processes made it and however often they were stopped.
"""

import glob
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vision_r1 import finished
from vision_r1.evaluation.answers import Decoding, Question
from vision_r1.evaluation.protocols import Request
from vision_r1.families import Family
from vision_r1.files import UserError, hash_files, hash_folder, write_jsonl
from vision_r1.progress import Progress

log = logging.getLogger(__name__)

Answer = dict[str, Any]
Item, Made = TypeVar("Item"), TypeVar("Made")

WAIT = 2.0  # seconds between two looks at the other processes' batches


class Generates(Protocol):
    """A backend: Generator, or VllmGenerator. `prepare` is what a thread can do for the next batch meanwhile."""

    def prepare(self, questions: Sequence[Question]) -> Any: ...

    def answer(self, questions: Sequence[Question], prepared: Any) -> list[Answer]: ...


@dataclass(frozen=True)
class Share:
    """The batches of process `index` (from 0) of `count`: those with that remainder. They have a file of their own."""

    index: int
    count: int

    def partial(self, output: Path) -> Path:
        """Return where this process keeps its batches until the output is written."""
        name = ".partial.jsonl" if self.count == 1 else f".partial-{self.index + 1}of{self.count}.jsonl"
        return output.with_suffix(name)


def question_of(request: Request, family: Family) -> Question:
    """Return the question behind a request. Raises UserError for an image that the processor refuses."""
    protocol, image = request.protocol, request.image
    try:
        size = family.input_size(image.width, image.height, protocol.min_pixels, protocol.max_pixels)
    except ValueError as error:
        raise UserError(f"{image.path}: can't be shown to the model: {error}") from None
    decoding = Decoding(**{item.name: getattr(protocol, item.name) for item in fields(Decoding)})
    return Question(image.path, request.prompt, decoding, *size, protocol.templates.system)


def plan(questions: Sequence[Question], batch_size: int) -> list[list[Question]]:
    """Return batches of distinct questions that are decoded alike, the longest first.

    So a lack of memory shows at once, padding is short, and an image's questions stand together.
    """

    def order(question: Question) -> tuple:
        alike = question.decoding
        limits = -alike.max_new_tokens, -alike.min_pixels, -alike.max_pixels, repr(alike)
        pixels = question.input_width * question.input_height
        return *limits, -pixels, question.path, -len(question.prompt), question.prompt, question.system or ""

    batches = []
    for _, alike in groupby(sorted(set(questions), key=order), key=lambda question: question.decoding):
        group = list(alike)
        batches += [group[start : start + batch_size] for start in range(0, len(group), batch_size)]
    return batches


def predict(
    requests: Sequence[Request],
    checkpoint: str | Path,
    family: Family,
    generator: Callable[[], Generates],
    batch_size: int,
    output: Path,
    settings: Mapping[str, Any],
    share: Share,
) -> None:
    """Answer this process's share; the first process then writes one line a request, in their order, to `output`.

    generator: makes the backend, and is called only where something is left to answer.
    Finished batches are kept beside `output`, where the first process waits for those of the others. They are used
    again, whoever made them, where checkpoint, questions, images' contents, batches and `settings` (all else that
    decides an answer) are the same.
    """
    questions = [question_of(request, family) for request in requests]
    batches = plan(questions, batch_size)
    images = sorted({question.path for question in questions})
    header = {
        "checkpoint": _hash_of(hash_folder(checkpoint)),
        "batches": hashlib.sha256(repr(batches).encode()).hexdigest(),
        "images": _hash_of(hash_files(".", images)),
        **settings,
    }
    kept, key = finished.beside(output), _key(header, requests, questions, family)
    known = finished.is_kept(kept, key) if output.is_file() else finished.restore(kept, key, {"predictions": output})
    if known:
        log.info("%s: this very prediction was finished before; delete %s to predict again", output, kept)
        return
    for path in partials(output):
        if read_partial(path)[0] != header:
            log.warning("%s: ignoring stale partial results (another checkpoint, plan or program)", path)
    done = all_finished(output, header)
    todo = [number for number in range(share.index, len(batches), share.count) if number not in done]
    if done:
        before = sum(len(batches[number]) for number in done)
        log.info("%d of %d questions were answered before; resuming", before, sum(map(len, batches)))
    seconds = None  # of all, as far as this process can tell
    if todo:
        began = time.monotonic()
        backend = generator()
        # Written again, without the line that a break cut.
        partial = share.partial(output)
        found, own = read_partial(partial)
        write_jsonl(partial, [header, *([number, own[number]] for number in own if found == header)])
        progress, answered = Progress(sum(len(batches[number]) for number in todo), "prompts"), 0
        with partial.open("a", encoding="utf-8") as file:
            prepared = ahead(backend.prepare, [batches[number] for number in todo])
            for number, inputs in zip(todo, prepared, strict=True):
                answers = backend.answer(batches[number], inputs)
                file.write(json.dumps([number, answers], ensure_ascii=False, allow_nan=False) + "\n")
                file.flush()
                answered += len(batches[number])
                progress.update(answered)
        progress.log(answered)
        seconds = (time.monotonic() - began) * sum(map(len, batches)) / (answered * share.count)
    if share.index == 0:
        gather(requests, questions, batches, header, output, family)
        # Before the partial files go: another process may begin after that, on another node; and where Snakemake has
        # died, its next run deletes the output.
        finished.keep(kept, key, {"predictions": output}, seconds)
        for partial in partials(output):
            partial.unlink()


def ahead(work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield work(item) for each item, in their order. A thread is at the next one meanwhile, and no further.

    So there is memory for two. An error is raised in its item's turn.
    """
    with ThreadPoolExecutor(1) as thread:
        following: Future[Made] | None = None
        for item in items:
            current, following = following, thread.submit(work, item)
            if current:
                yield current.result()
        if following:
            yield following.result()


def answer_at_once(
    requests: Sequence[Request], family: Family, generator: Generates, batch_size: int
) -> list[dict[str, Any]]:
    """Return a predictions file's lines for a few requests; nothing is kept on disk."""
    questions = [question_of(request, family) for request in requests]
    answers: dict[Question, Answer] = {}
    for batch in plan(questions, batch_size):
        answers |= zip(batch, generator.answer(batch, generator.prepare(batch)), strict=True)
    return list(lines(requests, questions, answers, family))


def gather(
    requests: Sequence[Request],
    questions: Sequence[Question],
    batches: Sequence[Sequence[Question]],
    header: Mapping[str, Any],
    output: Path,
    family: Family,
) -> None:
    """Write the output from all partial files, as soon as they hold every batch."""
    done = all_finished(output, header)
    while len(done) < len(batches):
        time.sleep(WAIT)
        done = all_finished(output, header)
    answers = {
        question: answer
        for number, batch in enumerate(batches)
        for question, answer in zip(batch, done[number], strict=True)
    }
    write_jsonl(output, lines(requests, questions, answers, family), sealed=True)
    log.info("%s: %d lines", output, len(requests))


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


def _key(header: Mapping[str, Any], requests: Sequence[Request], questions: Sequence[Question], family: Family) -> str:
    """Return a hash of all that decides the output: what decides the answers, and what is written beside them."""
    beside = lines(requests, questions, dict.fromkeys(questions, {}), family)
    return _hash_of([header, *beside])


def _hash_of(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def partials(output: Path) -> list[Path]:
    """Return the partial files beside an output, whatever the number of processes was."""
    return sorted(output.parent.glob(f"{glob.escape(output.stem)}.partial*.jsonl"))


def all_finished(output: Path, header: Mapping[str, Any]) -> dict[int, list[Answer]]:
    """Return the finished batches of the partial files beside an output that have this header, by number."""
    done: dict[int, list[Answer]] = {}
    for path in partials(output):
        found, batches = read_partial(path)
        if found == header:
            done |= batches
    return done


def read_partial(path: Path) -> tuple[Any, dict[int, list[Answer]]]:
    """Return a partial file's header, None where there is none, and its finished batches by number."""
    if not path.is_file():
        return None, {}
    found: list[Any] = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:  # cut by the break, like all that follows
            break
    pairs = [line for line in found[1:] if isinstance(line, list) and len(line) == 2 and isinstance(line[0], int)]
    return (found[0], dict(pairs)) if found else (None, {})
