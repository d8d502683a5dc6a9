"""Set published numbers beside ours: reproduced, not reproduced or not run.

Example:
  python workflow/scripts/check_anchors.py --published config/published.yaml --model Qwen/Qwen2.5-VL-7B-Instruct \\
      --metrics base coco metrics/base/coco.json --output anchors.json

With --stop a number that is not reproduced is an error, and no file is written: so a base model that isn't measured
as others measured it stops a run before any GPU hour is spent on training it.
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--published", required=True, metavar="FILE", help="published numbers (YAML)")
    arguments.add_argument("--model", metavar="ID", help="the base model's repository on the hub, if it is from there")
    arguments.add_argument(
        "--metrics",
        nargs=3,
        action="append",
        required=True,
        metavar=("CHECKPOINT", "SUITE", "FILE"),
        help="metrics of one checkpoint on one suite (score_suite.py); repeat",
    )
    arguments.add_argument("--stop", action="store_true", help="fail where a number is not reproduced")
    arguments.add_argument("--output", required=True, metavar="FILE", help="the comparison (JSON) to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.evaluation.anchors import NOT_REPRODUCED, NOT_RUN, check, read_published
    from vision_r1.files import UserError, read_json, write_json

    metrics = {(checkpoint, suite): read_json(path) for checkpoint, suite, path in args.metrics}
    lines = check(read_published(args.published), args.model, metrics)
    for line in lines:
        if line["status"] != NOT_RUN:
            logging.info(
                "%(checkpoint)s, %(suite)s, %(protocol)s, %(dataset)s %(metric)s: %(measured).3f, published %(value).3f"
                " +- %(tolerance).3f: %(status)s",
                line,
            )
    failed = [line for line in lines if line["status"] == NOT_REPRODUCED]
    if args.stop and failed:
        worst = max(failed, key=lambda line: abs(line["measured"] - line["value"]))
        raise UserError(
            f"{len(failed)} published numbers are not reproduced, the farthest {worst['checkpoint']} on "
            f"{worst['suite']} {worst['dataset']} ({worst['protocol']}): {worst['metric']} {worst['measured']:.3f}, "
            f"published {worst['value']:.3f}; find out why, or train all the same with evaluation.anchors: warn"
        )
    write_json(args.output, lines)


if __name__ == "__main__":
    run(main)
