"""Score the predictions for one data set: pycocotools' 12 numbers, and beside them what they hide.

Example:
  python workflow/scripts/score_predictions.py --annotations GT.json --predictions PRED --output metrics.json

PRED is a file of predict_suite.py or a COCO results JSON. At the top level of metrics.json, 0..1: AP AP50 AP75
APs APm APl AR1 AR10 AR100 ARs ARm ARl; null where there is nothing to find. Beside them: per_category,
interval (95 % bootstrap over images), score_policies, detection (F1, mean IoU), errors (as TIDE), slices,
answers (parse rate, duplicates, ...) and counts. Of a file with several data sets or protocols one is named:
they never mix.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

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
    arguments.add_argument("--output", required=True, metavar="FILE", help="metrics (JSON) to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.coco import read_coco
    from vision_r1.evaluation.predictions import by_protocol, is_coco_results, read_coco_results, read_lines, select
    from vision_r1.evaluation.protocols import Reading
    from vision_r1.evaluation.scoring import GIVEN, check_policy, score_answers, score_detections
    from vision_r1.files import write_json

    check_policy(args.score_policy)
    if is_coco_results(args.predictions):
        dataset = read_coco(args.dataset or Path(args.annotations).stem, args.annotations)
        detections = read_coco_results(args.predictions, dataset)
        scores, _ = score_detections(dataset, {GIVEN: detections}, GIVEN, args.resamples)
    else:
        lines = select(read_lines(args.predictions), args.predictions, args.dataset, args.protocol)
        name = lines[0]["dataset"] if lines else Path(args.annotations).stem
        dataset = read_coco(name, args.annotations)
        reading = Reading(args.reader)
        by_protocol([dataset], lines, args.predictions, {line["protocol"]: reading for line in lines})
        scores, _ = score_answers(dataset, lines, args.score_policy, reading, args.resamples)
        if scores["counts"]["unanswered"]:
            logging.warning("%d images with objects have no answer", scores["counts"]["unanswered"])
    logging.info("%s: AP %s", args.predictions, scores["AP"])
    write_json(args.output, scores)


if __name__ == "__main__":
    run(main)
