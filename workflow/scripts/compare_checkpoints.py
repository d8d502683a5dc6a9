"""Compare checkpoints in pairs: paired bootstrap of the difference in AP, Holm, and regressions.

Example:
  python workflow/scripts/compare_checkpoints.py --run results/miniature \\
      --output_json comparison.json --output_csv comparison.csv

Each checkpoint is compared with the base model, the checkpoint its training started from, the one its first GRPO stage
started from, and the SFT baseline of its training seed. Each pair has a line for every benchmark (data set `mean`) and
every data set. The intervals cover the choice of test images, not the randomness of training.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields

from vision_r1.cli import add_run, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_run(arguments)
    arguments.add_argument("--reference", metavar="CHECKPOINT", help="compare all others with this one instead")
    arguments.add_argument("--output_json", required=True, metavar="FILE")
    arguments.add_argument("--output_csv", required=True, metavar="FILE")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.evaluation.compare import NOTE, Comparison, compare, read_measured
    from vision_r1.files import UserError, write_json, write_text
    from vision_r1.report.text import as_csv
    from vision_r1.run_folder import Run

    folder = Run.read(args.run)
    measured = {
        name: [
            read_measured(suite, folder.metrics(name, suite), folder.resamples(name, suite)) for suite in folder.suites
        ]
        for name in folder.checkpoints
    }
    if args.reference is None:
        pairs = folder.compared
    elif args.reference in measured:
        pairs = [(name, args.reference) for name in measured if name != args.reference]
    else:
        raise UserError(f"--reference: unknown checkpoint {args.reference!r}; choose {', '.join(measured)}")
    lines = [line for name, other in pairs for line in compare(name, measured[name], other, measured[other])]
    for line in lines:
        if line.regression:
            about = (line.checkpoint, line.reference, line.dataset, line.protocol, line.difference)
            logging.warning("REGRESSION: %s against %s on %s, %s: AP %+.3f", *about)
    write_text(args.output_csv, as_csv((field.name for field in fields(Comparison)), map(astuple, lines)))
    write_json(args.output_json, {"note": NOTE, "lines": [asdict(line) for line in lines]}, sealed=True)


if __name__ == "__main__":
    run(main)
