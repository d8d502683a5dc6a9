"""Score the predictions for one data set: pycocotools' 12 numbers, and what they hide.

Prints AP as pycocotools computes it, its mean and range over random orders of boxes with equal scores, and F1.

Example:
  python workflow/scripts/score_predictions.py --annotations GT.json --predictions PRED --output_metrics metrics.json

PRED is a file of predict_suite.py or a COCO results JSON. At the top level of metrics.json, 0..1: AP AP50 AP75
APs APm APl AR1 AR10 AR100 ARs ARm ARl; null where there is nothing to find. Beside them: per_category,
interval (95 % bootstrap over images), score_policies (with ties: AP over random orders of equal scores), F1 (four
ways to average it), mean_iou, errors (as TIDE), slices, answers (parse rate, duplicates, ...) and counts. Where a
file has several data sets or protocols, name one: they are never mixed.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1.cli import add_scoring, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from vision_r1.evaluation.readers import READERS

    arguments = parser(__doc__)
    arguments.add_argument("--annotations", required=True, metavar="FILE", help="ground truth in COCO format")
    arguments.add_argument("--predictions", required=True, metavar="FILE", help="predictions (JSONL or COCO JSON)")
    arguments.add_argument("--dataset", metavar="NAME", help="score the lines of this data set")
    arguments.add_argument("--protocol", metavar="NAME", help="score the lines of this protocol")
    arguments.add_argument("--reader", choices=list(READERS), default="strict", help="how completions are read")
    add_scoring(arguments)
    arguments.add_argument("--output_metrics", required=True, metavar="FILE", help="metrics (JSON) to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.coco import read_coco
    from vision_r1.evaluation.coco_results import read_detections, read_entries
    from vision_r1.evaluation.predictions import by_protocol, read_lines, select
    from vision_r1.evaluation.protocols import Reading
    from vision_r1.evaluation.suite_metrics import (
        GIVEN,
        check_ground_truth,
        check_policy,
        score_answers,
        score_detections,
    )
    from vision_r1.files import write_json

    check_policy(args.score_policy)
    entries = read_entries(args.predictions)
    if entries is not None:
        dataset = read_coco(args.dataset or Path(args.annotations).stem, args.annotations)
        check_ground_truth(dataset)
        detections = read_detections(args.predictions, entries, dataset)
        if without := len(dataset.images) - len({detection.image_id for detection in detections}):
            logging.info("%s: no box in %d of %d images", args.predictions, without, len(dataset.images))
        scores = score_detections(dataset, {GIVEN: detections}, GIVEN, args.resamples).scores
    else:
        lines = select(read_lines(args.predictions), args.predictions, args.dataset, args.protocol)
        dataset = read_coco(lines[0]["dataset"], args.annotations)
        check_ground_truth(dataset)
        reading = Reading(args.reader)
        by_protocol([dataset], lines, args.predictions, {line["protocol"]: reading for line in lines})
        scores = score_answers(dataset, lines, args.score_policy, reading, args.resamples).scores
        if scores["counts"]["unanswered"]:
            logging.warning("%d images with objects have no answer", scores["counts"]["unanswered"])
    logging.info("%s:", args.predictions)
    for text in summary(scores):
        logging.info(text)
    write_json(args.output_metrics, scores)


def summary(scores: Mapping[str, Any]) -> list[str]:
    """Return lines for readers, x 100: AP, its range over ties, and F1 at IoU 0.5, 0.95 and in the mean."""
    policy = scores["score_policy"]
    ties = scores["score_policies"][policy]["ties"]
    lines = []
    for metric in ("AP", "AP50", "AP75"):
        around = ties[metric]
        if around is None:
            lines.append(f"{metric:4} none: there is no object to find")
            continue
        lines.append(
            f"{metric:4} {_points(scores[metric])} by pycocotools (scores: {policy}); {_points(around['expected'])} "
            f"expected over orders of equal scores, {_points(around['low'])} to {_points(around['high'])} in "
            f"{ties['orders']:,} of them"
        )
    for variant, numbers in scores["F1"].items():
        values = (f"{_points(numbers[place]['F1'])} at {place}" for place in ("0.50", "0.95"))
        lines.append(f"F1   {', '.join(values)}, mean {_points(numbers['mean']['F1'])} ({variant})")
    return lines


def _points(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f}"


def command() -> None:
    """Run as a console command of the installed package."""
    run(main)


if __name__ == "__main__":
    command()
