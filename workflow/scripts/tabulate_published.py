"""Lay a published table out in its own shape: theirs, ours and the difference, or "not run".

Writes <table>.csv (0..1), <table>.md and <table>.tex (points of 100) into report/tables/ of the run.

Example:
  python workflow/scripts/tabulate_published.py --run results/paper --table table_10
"""

import argparse
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    cli.add_run(arguments)
    cli.add_presets(arguments)
    arguments.add_argument("--table", required=True, metavar="NAME", help="a table of published.yaml")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.evaluation.published import read_tables
    from vision_r1.files import UserError
    from vision_r1.report.comparability import banner
    from vision_r1.report.published_tables import published_sheet
    from vision_r1.report.sheets import write_sheet
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    tables = {table.name: table for table in read_tables(f"{args.config}/published.yaml")}
    if args.table not in tables:
        raise UserError(f"--table: unknown {args.table!r}; choose {', '.join(tables)}")
    table = tables[args.table]
    wanted = run.measurable(table.measured(run.config["model"]["id"]))
    metrics = run.read_metrics(pair for pair in wanted if run.metrics(*pair).is_file())
    recipes = presets(args.config)
    sheet = published_sheet(table, run.config, recipes, metrics)
    write_sheet(run.page.parent / "tables", sheet, banner(run.config, recipes))


if __name__ == "__main__":
    cli.run(main)
