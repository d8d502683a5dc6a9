"""Speed of the rewards: completions per second for all three, in one thread, and how time grows with boxes.

Each answer repeats the boxes of its image, jittered, in the fenced format that the model is taught, so there are as
many predictions as objects. The released code scores about 1,000 completions per second at 8.6 boxes.

Example:
    python benchmarks/criterion.py
"""

import math
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.prompts import format_answer
from vision_r1.rewards import CRITERIA, Criterion, reward_functions

COUNTS = (1, 8, 30, 300)
LABELS = ("boat", "car", "dog", "person")


def batch(count: int, size: int, rng: np.random.Generator) -> tuple[list[str], dict[str, list]]:
    """Return `size` completions with `count` boxes each, and the columns of their rows."""
    texts, objects = [], []
    for _ in range(size):
        low = rng.integers(0, 600, (count, 2))
        boxes = np.concatenate([low, low + rng.integers(20, 200, (count, 2))], axis=1)
        labels = rng.choice(LABELS, count).tolist()
        objects.append([{"label": a, "bbox": b} for a, b in zip(labels, boxes.astype(float).tolist(), strict=True)])
        texts.append(format_answer(boxes + rng.integers(-4, 5, boxes.shape), labels))
    columns = {"objects": objects, "frame": ["pixel"] * size, "categories": [list(LABELS)] * size}
    return texts, columns | {name: [800] * size for name in ("width", "height", "input_width", "input_height")}


def seconds(criterion: Criterion, texts: list[str], columns: dict[str, list]) -> float:
    """Return the processor time of all three rewards for one completion: the best of five rounds."""
    functions = reward_functions(criterion)
    rounds = []
    for _ in range(5):
        completions = list(texts)  # a new list, because the scorer caches the scores of a batch
        start = time.process_time()
        for function in functions:
            function(completions, **columns)
        rounds.append((time.process_time() - start) / len(texts))
    return min(rounds)


def main() -> None:
    rng = np.random.default_rng(0)
    for name in CRITERIA:
        criterion = Criterion.named(name, "stage1")
        times = {count: seconds(criterion, *batch(count, max(2000 // count, 10), rng)) for count in COUNTS}
        for count, time_each in times.items():
            sys.stdout.write(
                f"{name:9s} {count:4d} boxes {1 / time_each:8.0f} completions/s {time_each * 1e3:8.3f} ms\n"
            )
        for few, many in zip(COUNTS, COUNTS[1:], strict=False):
            exponent = math.log(times[many] / times[few]) / math.log(many / few)
            sys.stdout.write(f"{name:9s} {few} -> {many} boxes: time grows as boxes ^ {exponent:.2f}\n")


if __name__ == "__main__":
    main()
