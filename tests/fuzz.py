"""Feed damaged input to the readers for some minutes: answers, annotations, predictions, configurations.

Each input is a valid one with a few characters or values changed; the changes depend on --seed. A reader may accept it
or raise UserError; any other exception, including numpy's warnings, is printed with its input, and the exit status is
1. At the end it prints, for each kind, the numbers of inputs and refusals and the longest time.

Examples:
    python tests/fuzz.py --minutes 5
    python tests/fuzz.py --kinds answers --count 1000000 | tee benchmarks/results/fuzz.txt
"""

import argparse
import contextlib
import copy
import io
import json
import logging
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow/scripts"), str(ROOT / "tests")]
import score_predictions  # noqa: E402
from configurations import load  # noqa: E402

from vision_r1 import configuration, parsing, released_2025  # noqa: E402
from vision_r1.files import UserError  # noqa: E402
from vision_r1.rewards import Criterion  # noqa: E402
from vision_r1.zoo import ZOO, ZooReward  # noqa: E402

DOG, CAFE = '{"bbox_2d": [10, 20, 110, 220], "label": "dog"}', '{"bbox_2d": [5, 6.5, 70, 80], "label": "caf\u00e9"}'
ANSWER = f"```json\n[{DOG}, {CAFE}]\n```"
ROW = {"frame": "pixel", "width": 640, "height": 480, "input_width": 644, "input_height": 476, "categories": ["dog"]}
ROW |= {"objects": [{"label": "dog", "bbox": [10, 20, 110, 220]}]}
BOXES = [{"id": n + 1, "image_id": n % 2 + 1, "category_id": n % 2 + 1, "bbox": [10 * n, 5, 20, 30]} for n in range(4)]
ANNOTATIONS = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in (1, 2)],
    "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    "annotations": [{**box, "area": 600, "iscrowd": 0} for box in BOXES],
}
RESULTS = [{key: box[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5} for box in BOXES]
PIECES = ["[", "]", "{", "}", '"', "\\", ",", ":", "null", "NaN", "-1", "1e999", "0.5", "9" * 30, "\n", "\ud800"]
PIECES += ["true", DOG, "```", "```json\n", "<think>", "</think>", "\ufeff", "\x00", "'"]
VALUES = [None, True, -1, 0, 0.5, 2**70, float("nan"), float("inf"), "", "1", "a\n", "\ud800", [], {}, [1, 2], {"a": 1}]


def characters(text: str, rng: random.Random) -> str:
    """Return the text with a few pieces deleted, inserted or doubled."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice((0, 0, 1, 5, 40)))
        text = text[:start] + rng.choice(("", rng.choice(PIECES), text[start:end] * 2)) + text[end:]
    return text


def values(value, rng: random.Random):
    """Return a JSON value with one of its parts changed."""
    value = copy.deepcopy(value)
    place = value
    while isinstance(place, (dict, list)) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.15:
            if rng.random() < 0.2:
                del place[key]
            else:
                place[key] = copy.deepcopy(rng.choice(VALUES))
            break
        place = place[key]
    return value


def answers(rng: random.Random, folder: Path) -> Callable[[], None]:
    text = characters(ANSWER, rng)

    def read():
        for parse in (parsing.parse, released_2025.parse):
            parsed = parse(text, {"dog"})
            assert np.isfinite(parsed.boxes).all() and parsed.boxes.shape == (len(parsed.labels), 4)
        for criterion in CRITERIA:
            score = criterion.score(text, ROW)
            assert all(0 <= part < 2 for part in score.parts.values())

    read.input = text
    return read


CRITERIA = [Criterion.named(name, "stage1") for name in ("paper", "released_2025", "strict")] + [*map(ZooReward, ZOO)]


def _scored(annotations: str, predictions: str, folder: Path) -> Callable[[], None]:
    def read():
        paths = [folder / name for name in ("gt.json", "predictions.json", "metrics.json")]
        for path, text in zip(paths, (annotations, predictions), strict=False):
            path.write_bytes(text.encode(errors="surrogatepass"))
        with contextlib.redirect_stdout(io.StringIO()):
            score_predictions.main(
                ["--annotations", str(paths[0]), "--predictions", str(paths[1]), "--resamples", "2"]
                + ["--output_metrics", str(paths[2])]
            )

    read.input = f"{annotations}\n{predictions}"
    return read


def _damaged(value, rng: random.Random) -> str:
    return characters(json.dumps(value), rng) if rng.random() < 0.3 else json.dumps(values(value, rng))


def annotations(rng: random.Random, folder: Path) -> Callable[[], None]:
    return _scored(_damaged(ANNOTATIONS, rng), json.dumps(RESULTS), folder)


def predictions(rng: random.Random, folder: Path) -> Callable[[], None]:
    return _scored(json.dumps(ANNOTATIONS), _damaged(RESULTS, rng), folder)


def configurations(rng: random.Random, folder: Path) -> Callable[[], None]:
    changed = values(DEFAULT, rng)

    def read():
        configuration.check(changed, SCHEMA)

    read.input = "a changed default configuration"
    return read


DEFAULT = load(ROOT, "miniature")
SCHEMA = configuration.read_schema(ROOT / "config")
KINDS = {kind.__name__: kind for kind in (answers, annotations, predictions, configurations)}


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--minutes", type=float, default=1, help="for all kinds together, unless --count is given")
    parser.add_argument("--count", type=int, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        for kind in args.kinds:
            seconds = float("inf") if args.count else 60 * args.minutes / len(args.kinds)
            rng = random.Random(f"{args.seed} {kind}")
            failures += fuzz(kind, args.count or sys.maxsize, seconds, rng, Path(folder))
    sys.exit(int(failures > 0))


def fuzz(kind: str, count: int, seconds: float, rng: random.Random, folder: Path) -> int:
    """Return how many inputs of a kind raised an exception other than UserError."""
    began, number, refused, failures, slowest = time.monotonic(), 0, 0, 0, 0.0
    while number < count and time.monotonic() - began < seconds:
        read = KINDS[kind](rng, folder)
        number, started = number + 1, time.monotonic()
        try:
            read()
        except UserError:
            refused += 1
        except Exception:
            failures += 1
            sys.stdout.write(f"{kind}, input {number}:\n{read.input!r}\n{traceback.format_exc()}\n")
        slowest = max(slowest, time.monotonic() - started)
    sys.stdout.write(f"{kind}: {number:,} inputs, {refused:,} refused, {failures} failed; slowest {slowest:.2f} s\n")
    sys.stdout.flush()
    return failures


if __name__ == "__main__":
    main()
