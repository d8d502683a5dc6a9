"""Speed of the bootstrap: 1,000 resamples (halves) of a synthetic data set of COCO's size, without matching again.

5,000 images, 80 categories as unequal as COCO's, about 36,800 objects, and as many boxes with scores from a few
values (ties) or at random. Printed beside the times: the difference to pycocotools' AP where every image counts once.

Example:
    python benchmarks/bootstrap.py
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.data.coco import CocoDataset, CocoImage, CocoObject
from vision_r1.evaluation.bootstrap import interval, resampled_ap, resamples, weighted_ap
from vision_r1.evaluation.box_errors import error_costs
from vision_r1.evaluation.coco_ap import Detection, match

IMAGES, CATEGORIES, RESAMPLES = 5_000, 80, 1_000


def made(rng: np.random.Generator) -> tuple[CocoDataset, list[Detection]]:
    """Return a data set and boxes: some jittered objects, some of a wrong class, some on the background."""
    share = 1 / np.arange(2, CATEGORIES + 2)
    share /= share.sum()
    images, detections = [], []
    for number in range(1, IMAGES + 1):
        objects = []
        for category in rng.choice(CATEGORIES, rng.poisson(7.36), p=share):
            x, y, width, height = rng.uniform((0, 0, 10, 10), (400, 300, 240, 180))
            box = (float(x), float(y), float(width), float(height))
            objects.append(CocoObject(int(category), str(category), box, box[2] * box[3], crowd=rng.random() < 0.01))
            if rng.random() < 0.7:
                moved = np.array(box) + rng.normal(0, 0.12, 4) * (width, height, width, height)
                named = category if rng.random() < 0.9 else rng.integers(CATEGORIES)
                score = 0.99 if number % 2 else float(rng.random())
                detections.append(Detection(number, int(named), tuple(np.abs(moved).tolist()), score))
        for _ in range(rng.poisson(2)):
            box = tuple(rng.uniform((0, 0, 10, 10), (400, 300, 240, 180)).tolist())
            detections.append(Detection(number, int(rng.choice(CATEGORIES, p=share)), box, float(rng.random())))
        images.append(CocoImage(number, "", 640, 480, tuple(objects)))
    return CocoDataset("made", "made", {number: str(number) for number in range(CATEGORIES)}, tuple(images)), detections


def main() -> None:
    dataset, detections = made(np.random.default_rng(0))
    objects = sum(len(image.objects) for image in dataset.images)
    sys.stdout.write(f"{IMAGES} images, {CATEGORIES} categories, {objects} objects, {len(detections)} boxes\n")

    start = time.perf_counter()
    matches = match(dataset, detections)
    sys.stdout.write(f"pycocotools, 12 numbers       {time.perf_counter() - start:7.2f} s\n")

    once = weighted_ap(matches, np.ones((1, IMAGES), np.int32))
    for metric, values in once.items():
        value = matches.stats[metric]
        sys.stdout.write(f"{metric:4s} {value:.4f}, difference      {values[0] - value:9.1e}\n")

    start = time.perf_counter()
    weights = resamples(dataset.name, IMAGES, RESAMPLES)
    samples = resampled_ap(matches, weights)
    sys.stdout.write(f"{RESAMPLES} resamples                {time.perf_counter() - start:7.2f} s\n")
    low, high = interval(matches.stats["AP"], samples["AP"])
    sys.stdout.write(f"AP interval                   {low:.4f} to {high:.4f}\n")

    start = time.perf_counter()
    error_costs(matches, detections)
    sys.stdout.write(f"kinds of error and their cost {time.perf_counter() - start:7.2f} s\n")


if __name__ == "__main__":
    main()
