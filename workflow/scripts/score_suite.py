"""Score a suite's predictions: per protocol and data set what score_predictions.py writes, and the mean over the sets.

Example:
  python workflow/scripts/score_suite.py --suite coco --dataset scenes_test scenes/annotations.json \\
      --protocol released-one-prompt '{"reader": "released_2025"}' --predictions predictions.jsonl \\
      --output_metrics metrics.json --output_resamples metrics.resamples.npz

All numbers are 0..1. A data set without predictions makes the mean null and is listed under `incomplete`.
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import add_datasets, add_scoring, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--suite", required=True, help="name of the suite")
    add_datasets(arguments, "ANNOTATIONS")
    arguments.add_argument(
        "--protocol",
        nargs=2,
        action="append",
        required=True,
        metavar=("NAME", "JSON"),
        help="a protocol and how its answers are scored: keys reader, score and names (see protocols.py); repeat",
    )
    arguments.add_argument("--predictions", required=True, metavar="FILE", help="predictions of predict_suite.py")
    add_scoring(arguments)
    arguments.add_argument("--output_metrics", required=True, metavar="FILE", help="metrics (JSON) to write")
    arguments.add_argument(
        "--output_resamples", required=True, metavar="FILE", help="resamples (npz) for compare_checkpoints.py"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.coco import read_all
    from vision_r1.evaluation.compare import write_resamples
    from vision_r1.evaluation.predictions import read_lines
    from vision_r1.evaluation.protocols import Reading, read_entries
    from vision_r1.evaluation.suite_metrics import check_policy, score_suite
    from vision_r1.files import write_json

    readings = {name: Reading.of(name, entry) for name, entry in read_entries(args.protocol).items()}
    check_policy(args.score_policy)
    lines = read_lines(args.predictions)
    protocols, samples = score_suite(
        read_all(args.dataset), lines, args.predictions, args.score_policy, readings, args.resamples
    )
    for protocol, scores in protocols.items():
        mean = scores["mean"]
        text = f"AP {mean['AP']:.3f}" if mean else f"no mean: incomplete data sets: {', '.join(scores['incomplete'])}"
        logging.info("%s, %s: %s", args.suite, protocol, text)
    write_resamples(args.output_resamples, samples)
    metrics = {"suite": args.suite, "score_policy": args.score_policy, "protocols": protocols}
    write_json(args.output_metrics, metrics, sealed=True)


if __name__ == "__main__":
    run(main)
