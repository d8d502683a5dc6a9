"""Time and memory of scoring, and of pycocotools, faster-coco-eval and hotcoco, which compute only AP's 12 numbers.

Ours computes everything that score_predictions.py reports on COCO results: the 12 numbers, intervals from 1,000
resamples, orders of equal scores, F1, types of errors and slices. All programs begin with records in memory. The
synthetic data sets have categories as unequal as COCO's; scores are random, or 0.99 for every box ("equal", as in the
released code). Each measurement runs in a separate process: wall seconds, processor seconds, peak memory with the
imports, AP, and the largest difference of the 12 numbers from the first line's.

faster-coco-eval has to be installed by hand: pip install --no-deps faster-coco-eval

Example: python benchmarks/scoring.py > benchmarks/results/scoring.txt   # about 6 minutes on two idle cores
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation.coco_ap import METRICS, Detection
from vision_r1.evaluation.suite_metrics import GIVEN, score_detections
from vision_r1.resources import processor

RESAMPLES = 1_000
PEERS = ("pycocotools", "faster-coco-eval", "hotcoco")
# (images, boxes per image, categories, scores), and the peers that are measured on it.
CASES = [
    ((5_000, 10, 80, "random"), PEERS),
    ((5_000, 100, 80, "random"), PEERS),
    ((5_000, 10, 80, "equal"), ()),
    ((500, 10, 80, "random"), PEERS),
    ((500, 10, 1_203, "random"), PEERS),
    ((50_000, 10, 80, "random"), ("hotcoco",)),
]


def synthetic(images: int, boxes: int, categories: int, scores: str) -> tuple[CocoDataset, list[Detection]]:
    """Return a data set with 7.36 objects per image, as in COCO, 1 in 100 a crowd region, and boxes: jittered objects,
    some with a wrong label, and a third on the background."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(2, categories + 2)
    share /= share.sum()

    def background(count: int) -> np.ndarray:
        return rng.uniform((0, 0, 10, 10), (400, 300, 240, 180), (count, 4))

    image = np.sort(rng.integers(0, images, round(7.36 * images)))
    truth, category = background(len(image)), rng.choice(categories, len(image), p=share)
    crowd = rng.random(len(image)) < 0.01
    objects: list[list[CocoObject]] = [[] for _ in range(images)]
    for place, box, kind, is_crowd in zip(image, truth.tolist(), category.tolist(), crowd.tolist(), strict=True):
        objects[place].append(CocoObject(kind, str(kind), tuple(box), box[2] * box[3], is_crowd))
    records = tuple(CocoImage(number, "", 640, 480, tuple(own)) for number, own in enumerate(objects, start=1))

    near = rng.integers(0, len(image), images * boxes)
    found = np.abs(truth[near] + rng.normal(0, 0.12, (len(near), 4)) * truth[near][:, [2, 3, 2, 3]])
    false = rng.random(len(near)) < 1 / 3
    found[false] = background(false.sum())
    named = np.where(rng.random(len(near)) < 0.7, category[near], rng.choice(categories, len(near), p=share))
    score = rng.random(len(near)) if scores == "random" else np.full(len(near), 0.99)
    columns = zip((image[near] + 1).tolist(), named.tolist(), map(tuple, found.tolist()), score.tolist(), strict=True)
    names = {number: str(number) for number in range(categories)}
    return CocoDataset("synthetic", "", names, records), [Detection(*column) for column in columns]


def prepared(program: str, dataset: CocoDataset, detections: list[Detection]) -> Callable[[], list[float | None]]:
    """Return a function that computes the 12 numbers with a program; imports and records are made beforehand."""
    if program == "ours":

        def ours() -> list[float | None]:
            scores = score_detections(dataset, {GIVEN: detections}, GIVEN, RESAMPLES).scores
            return [scores[name] for name in METRICS]

        return ours
    if program == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    elif program == "hotcoco":
        from hotcoco import COCO, COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    truth = {
        "images": [{"id": each.id, "file_name": "", "width": 640, "height": 480} for each in dataset.images],
        "categories": [{"id": key, "name": name} for key, name in dataset.categories.items()],
        "annotations": [
            {"image_id": image.id, "category_id": item.category_id, "bbox": list(item.bbox), "area": item.area}
            | {"iscrowd": int(item.crowd)}
            for image in dataset.images
            for item in image.objects
        ],
    }
    for number, entry in enumerate(truth["annotations"], start=1):
        entry["id"] = number
    results = [
        {"image_id": each.image_id, "category_id": each.category_id, "bbox": list(each.bbox), "score": each.score}
        for each in detections
    ]

    def peer() -> list[float | None]:
        if program == "pycocotools":
            index = COCO()
            index.dataset = truth
            index.createIndex()
        else:
            index = COCO(truth)
        evaluation = COCOeval(index, index.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return [None if value < 0 else float(value) for value in list(evaluation.stats)[:12]]

    return peer


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(program: str, images: int, boxes: int, categories: int, scores: str) -> None:
    """Print one measurement as JSON."""
    with contextlib.redirect_stdout(io.StringIO()):
        compute = prepared(program, *synthetic(images, boxes, categories, scores))
        wall, used = time.perf_counter(), processor_seconds()
        numbers = compute()
        wall, used = time.perf_counter() - wall, processor_seconds() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # of KiB: GiB
    sys.stdout.write(json.dumps({"wall": wall, "used": used, "memory": memory, "numbers": numbers}))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--scale", type=float, default=1, help="share of the images, for a trial run")
    arguments.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.measure:
        program, *numbers, scores = args.measure
        return measure(program, *map(int, numbers), scores)
    sys.stdout.write(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    for (images, boxes, categories, scores), peers in CASES:
        case = [str(round(images * args.scale)), str(boxes), str(categories), scores]
        sys.stdout.write("\n{} images x {} boxes, {} categories, {} scores\n".format(*case))
        first = None
        for program in ("ours", *peers):
            words = [sys.executable, __file__, "--measure", program, *case]
            # Some libraries print to the terminal, bypassing sys.stdout; the measurement is the last line.
            output = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
            own = json.loads(output.splitlines()[-1])
            first = first or own["numbers"]
            pairs = [(a, b) for a, b in zip(first, own["numbers"], strict=True) if None not in (a, b)]
            sys.stdout.write(
                f"{program:17} {own['wall']:8.2f} s wall {own['used']:8.2f} s processor {own['memory']:6.2f} GiB   "
                f"AP {own['numbers'][0]:.4f}, difference {max(abs(a - b) for a, b in pairs):.0e}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
