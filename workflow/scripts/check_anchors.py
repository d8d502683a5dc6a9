"""Set published numbers beside ours: reproduced, not reproduced or not run.

Example:
  python workflow/scripts/check_anchors.py --run results/paper --published config/published.yaml --scope all \\
      --output_json anchors.json

With --stop, a suite's mean that is not reproduced is an error, and no file is written. So a base model that scores
otherwise than published stops the run before any GPU hour is spent on training it.
"""

import argparse
import logging
from collections.abc import Sequence

from vision_r1.cli import add_run, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_run(arguments)
    arguments.add_argument("--published", required=True, metavar="FILE", help="published numbers (YAML)")
    arguments.add_argument(
        "--scope",
        required=True,
        choices=("base", "gate", "all"),
        help="all checkpoints, or the base model; gate: the same as base, before training",
    )
    arguments.add_argument("--stop", action="store_true", help="fail where a mean is not reproduced")
    arguments.add_argument("--output_json", required=True, metavar="FILE")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.evaluation.anchors import NOT_RUN, REPRODUCED, check
    from vision_r1.evaluation.published import MEAN, read_published
    from vision_r1.experiments import BASE
    from vision_r1.files import UserError, write_json
    from vision_r1.run_folder import Run

    folder = Run.read(args.run)
    model = folder.config["model"]["id"]
    metrics = folder.read_metrics(folder.scored(folder.checkpoints if args.scope == "all" else [BASE]))
    lines = check(read_published(args.published), model, metrics)
    for line in lines:
        if line["status"] != NOT_RUN:
            logging.info(
                "%(checkpoint)s, %(suite)s, %(protocol)s, %(dataset)s %(metric)s: %(measured).3f"
                " (%(low).3f to %(high).3f by the order of equal scores), published %(value).3f"
                " +- %(tolerance).3f: %(status)s",
                line,
            )
    if args.stop:
        # Only means count: among many small data sets one is soon outside by chance. An incomplete mean fails, too.
        ours = [
            line
            for line in lines
            if line["id"] == model and (line["checkpoint"], line["suite"]) in metrics and line["dataset"] == MEAN
        ]
        failed = [line for line in ours if line["status"] != REPRODUCED]
        if failed:
            failures = [
                f"{line['checkpoint']} on {line['suite']} {line['dataset']} ({line['protocol']}): {line['metric']} "
                f"{'missing' if line['measured'] is None else format(line['measured'], '.3f')}, "
                f"published {line['value']:.3f} +- {line['tolerance']:.3f}"
                for line in failed
            ]
            raise UserError(
                f"{len(failed)} of {len(ours)} published means are not reproduced: {'; '.join(failures)}. "
                "Find out why, or train all the same with evaluation.anchors: warn"
            )
    write_json(args.output_json, lines, sealed=True)


if __name__ == "__main__":
    run(main)
