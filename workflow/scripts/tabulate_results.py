"""Gather the scores of all checkpoints into one long CSV table, and write the report's tables.

Into the folder go results.csv (all scores), results.md and results.tex (the main table and every data set), and each as
.csv, .md and .tex: differences to the base model, intervals of AP, errors and error_counts, slices, score_policies.

Example:
  python workflow/scripts/tabulate_results.py \\
      --metrics base coco results/miniature/metrics/base/coco.json \\
      --metrics strict/grpo_stage2 coco results/miniature/metrics/strict/grpo_stage2/coco.json \\
      --comparison results/miniature/tables/comparison.json --output_directory results/miniature/tables
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.parser(__doc__, word_files=True)
    cli.add_metrics(parser, "in the order of the table", required=True)
    parser.add_argument("--seed", type=int, default=0, help="chain seed of the run, a column of the table")
    parser.add_argument("--comparison", metavar="FILE", help="comparison (JSON) of compare_checkpoints.py")
    parser.add_argument("--anchors", metavar="FILE", help="published numbers beside ours, of check_anchors.py")
    parser.add_argument(
        "--config", metavar="FILE", help="the run's resolved configuration, JSON: its banner stands above the tables"
    )
    parser.add_argument("--presets", metavar="DIR", help="folder config/, with the published recipes' presets")
    parser.add_argument("--output_directory", required=True, metavar="DIR")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.evaluation.box_errors import ERROR_KINDS
    from vision_r1.files import UserError, read_json, write_text
    from vision_r1.report.published import banner, published_numbers
    from vision_r1.report.reasons import reason_sheets, reasons
    from vision_r1.report.results import of_metrics, pairs, with_differences, write_csv
    from vision_r1.report.sheets import as_latex, as_markdown, write_sheet
    from vision_r1.report.tables import comparison_sheet, interval_sheet, main_sheets, policy_sheet

    if args.anchors and not (args.config and args.presets):
        raise UserError("--anchors: give --config and --presets, too; numbers stand beside their own recipe's")
    results = [
        result for checkpoint, suite, path in args.metrics for result in of_metrics(path, checkpoint, suite, args.seed)
    ]
    comparison = read_json(args.comparison) if args.comparison else {"reference": "base", "tables": {}}
    results = with_differences(results, comparison)
    config, recipes = read_json(args.config) if args.config else None, presets(args.presets) if args.presets else {}
    warning = banner(config, recipes) if config else None
    published = published_numbers(config, recipes, read_json(args.anchors)) if args.anchors else []
    metrics = {(checkpoint, suite): read_json(path) for checkpoint, suite, path in args.metrics}
    checkpoints = list(dict.fromkeys(result.checkpoint for result in results))

    folder, main_tables = Path(args.output_directory), main_sheets(results, published)
    write_csv(folder / "results.csv", results)
    write_text(folder / "results.md", as_markdown(main_tables, warning))
    write_text(folder / "results.tex", as_latex(main_tables, warning))
    found = reasons(metrics, checkpoints, pairs(results), ERROR_KINDS)
    tables = (comparison_sheet(comparison), interval_sheet(results), policy_sheet(results, checkpoints))
    for sheet in (*tables, *reason_sheets(found)):
        write_sheet(folder, sheet, warning)


if __name__ == "__main__":
    cli.run(main)
