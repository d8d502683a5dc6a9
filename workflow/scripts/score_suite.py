"""Score a suite's predictions: COCO AP per protocol and data set, and the mean over the data sets.

Example:
  python workflow/scripts/score_suite.py --suite coco --dataset scenes_test scenes/annotations.json \\
      --predictions predictions.jsonl --score_policy constant --output metrics.json

All numbers are 0..1. A data set without predictions makes the mean null and stands under `incomplete`.
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import add_datasets, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--suite", required=True, help="name of the suite")
    add_datasets(arguments, "ANNOTATIONS")
    arguments.add_argument("--predictions", required=True, metavar="FILE", help="predictions of predict_suite.py")
    arguments.add_argument("--score_policy", default="constant", help="where a box's score comes from")
    arguments.add_argument("--output", required=True, metavar="FILE", help="metrics (JSON) to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.coco import read_all
    from vision_r1.evaluation.scoring import SCORE_POLICIES, score_suite
    from vision_r1.files import UserError, read_jsonl, write_json

    if args.score_policy not in SCORE_POLICIES:
        raise UserError(f"--score_policy: {args.score_policy!r} is none of {', '.join(SCORE_POLICIES)}")
    lines = read_jsonl(args.predictions)
    protocols = score_suite(read_all(args.dataset), lines, args.predictions, args.score_policy)
    for protocol, scores in protocols.items():
        mean = scores["mean"]
        text = f"AP {mean['AP']:.3f}" if mean else f"no mean: incomplete are {', '.join(scores['incomplete'])}"
        logging.info("%s, %s: %s", args.suite, protocol, text)
    write_json(args.output, {"suite": args.suite, "score_policy": args.score_policy, "protocols": protocols})


if __name__ == "__main__":
    run(main)
