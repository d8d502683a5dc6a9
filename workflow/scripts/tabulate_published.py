"""Lay a published table out in its own shape: theirs, ours and the difference, or "not run".

Example:
  python workflow/scripts/tabulate_published.py --published config/published.yaml --table table_10 \\
      --config results/paper/config.json --presets config \\
      --metrics base coco results/paper/metrics/base/coco.json --output_directory results/paper/report/tables

Writes <table>.csv (0..1), <table>.md and <table>.tex (points of 100). Without --metrics it is theirs alone.
"""

import argparse
from collections.abc import Sequence

from vision_r1.cli import add_metrics, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__, word_files=True)
    arguments.add_argument("--published", required=True, metavar="FILE", help="published numbers (YAML)")
    arguments.add_argument("--table", required=True, metavar="NAME", help="a table of that file")
    arguments.add_argument("--config", required=True, metavar="FILE", help="the run's resolved configuration (JSON)")
    arguments.add_argument("--presets", required=True, metavar="DIR", help="folder config/, with the recipes' presets")
    add_metrics(arguments, "of score_suite.py")
    arguments.add_argument("--output_directory", required=True, metavar="DIR")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.evaluation.published import read_tables
    from vision_r1.files import UserError, read_json
    from vision_r1.report.published_tables import published_sheet
    from vision_r1.report.sheets import write_sheet

    tables = {table.name: table for table in read_tables(args.published)}
    if args.table not in tables:
        raise UserError(f"--table: unknown {args.table!r}; choose {', '.join(tables)}")
    metrics = {(checkpoint, suite): read_json(path) for checkpoint, suite, path in args.metrics}
    config = read_json(args.config)
    sheet = published_sheet(tables[args.table], config, presets(args.presets), metrics)
    write_sheet(args.output_directory, sheet, config["report"]["banner"])


if __name__ == "__main__":
    run(main)
