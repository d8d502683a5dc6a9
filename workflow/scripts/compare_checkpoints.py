"""Compare checkpoints with a reference: paired bootstrap of the difference in AP, Holm, and regressions.

Example:
  python workflow/scripts/compare_checkpoints.py --reference base \\
      --metrics base coco metrics/base/coco.json metrics/base/coco.resamples.npz \\
      --metrics sft coco metrics/sft/coco.json metrics/sft/coco.resamples.npz \\
      --output_json comparison.json --output_csv comparison.csv

Each checkpoint's table holds its benchmarks (data set `mean`) and their data sets. The intervals cover the choice
of test images, not the randomness of training.
"""

import argparse
import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import asdict, fields

from vision_r1.cli import add_measured, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__, word_files=True)
    arguments.add_argument("--reference", required=True, metavar="CHECKPOINT", help="what the others are compared with")
    add_measured(arguments)
    arguments.add_argument("--output_json", required=True, metavar="FILE")
    arguments.add_argument("--output_csv", required=True, metavar="FILE")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.evaluation.compare import NOTE, Comparison, compare, read_measured
    from vision_r1.files import UserError, write_json, write_text
    from vision_r1.report.text import csv_text

    measured: dict[str, list] = {}
    for checkpoint, suite, metrics, resamples in args.metrics:
        measured.setdefault(checkpoint, []).append(read_measured(suite, metrics, resamples))
    if args.reference not in measured:
        raise UserError(f"--reference: {args.reference!r} is none of {', '.join(measured)}; give its --metrics")
    reference = measured.pop(args.reference)
    tables = {name: compare(name, own, args.reference, reference) for name, own in measured.items()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Comparison))
    for line in (line for table in tables.values() for line in table):
        writer.writerow(csv_text(value) if isinstance(value, str) else value for value in asdict(line).values())
        if line.regression:
            logging.warning(
                "REGRESSION: %s on %s, %s: AP %+.3f", line.checkpoint, line.dataset, line.protocol, line.difference
            )
    write_text(args.output_csv, text.getvalue())
    lines = {name: [asdict(line) for line in table] for name, table in tables.items()}
    write_json(args.output_json, {"note": NOTE, "reference": args.reference, "tables": lines})


if __name__ == "__main__":
    run(main)
