"""Gather the scores of all checkpoints into one long CSV table, and the main table as Markdown and LaTeX.

Example:
  python workflow/scripts/tabulate_results.py \\
      --metrics base coco results/miniature/metrics/base/coco.json \\
      --metrics strict/grpo_stage2 coco results/miniature/metrics/strict/grpo_stage2/coco.json \\
      --output_csv results/miniature/tables/results.csv --output_markdown results/miniature/tables/results.md \\
      --output_latex results/miniature/tables/results.tex
"""

import argparse
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--metrics",
        nargs=3,
        action="append",
        required=True,
        metavar=("CHECKPOINT", "SUITE", "FILE"),
        help="metrics of one checkpoint on one suite; repeat, in the order of the table",
    )
    parser.add_argument("--seed", type=int, default=0, help="chain seed of the run, a column of the table")
    parser.add_argument("--banner", help="warning above the Markdown table")
    parser.add_argument("--output_csv", required=True, metavar="FILE")
    parser.add_argument("--output_markdown", required=True, metavar="FILE")
    parser.add_argument("--output_latex", required=True, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import write_text
    from vision_r1.report.results import of_metrics, write_csv
    from vision_r1.report.tables import latex, markdown

    results = [
        result for checkpoint, suite, path in args.metrics for result in of_metrics(path, checkpoint, suite, args.seed)
    ]
    write_csv(args.output_csv, results)
    write_text(args.output_markdown, markdown(results, args.banner))
    write_text(args.output_latex, latex(results, args.banner))


if __name__ == "__main__":
    cli.run(main)
