"""Compare checkpoints with a reference: paired bootstrap of the difference in AP, Holm, and regressions.

Example:
  python workflow/scripts/compare_checkpoints.py --run results/miniature --reference base \\
      --output_json comparison.json --output_csv comparison.csv

Each checkpoint's table holds its benchmarks (data set `mean`) and their data sets. The intervals cover the choice
of test images, not the randomness of training.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields

from vision_r1.cli import add_run, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_run(arguments)
    arguments.add_argument("--reference", required=True, metavar="CHECKPOINT", help="what the others are compared with")
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
    if args.reference not in measured:
        raise UserError(f"--reference: unknown checkpoint {args.reference!r}; choose {', '.join(measured)}")
    reference = measured.pop(args.reference)
    tables = {name: compare(name, own, args.reference, reference) for name, own in measured.items()}
    rows = [line for table in tables.values() for line in table]
    for line in rows:
        if line.regression:
            logging.warning(
                "REGRESSION: %s on %s, %s: AP %+.3f", line.checkpoint, line.dataset, line.protocol, line.difference
            )
    write_text(args.output_csv, as_csv((field.name for field in fields(Comparison)), map(astuple, rows)))
    lines = {name: [asdict(line) for line in table] for name, table in tables.items()}
    write_json(args.output_json, {"note": NOTE, "reference": args.reference, "tables": lines}, sealed=True)


if __name__ == "__main__":
    run(main)
