"""Gather the scores of all checkpoints into one long CSV table, and write the report's tables.

Into the run's folder of tables go results.csv (all scores), results.md and results.tex (the main table and every data
set), and each as .csv, .md and .tex: differences to the base model, intervals of AP, errors and error_counts, slices,
score_policies.

Example:
  python workflow/scripts/tabulate_results.py --run results/miniature
"""

import argparse
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    cli.add_run(arguments)
    cli.add_presets(arguments)
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.evaluation.compare import read_comparison
    from vision_r1.files import read_json, write_text
    from vision_r1.report.comparability import banner, published_numbers
    from vision_r1.report.reasons import reason_sheets, reasons
    from vision_r1.report.results import of_metrics, pairs, with_differences, write_csv
    from vision_r1.report.sheets import as_latex, as_markdown, write_sheet
    from vision_r1.report.tables import comparison_sheet, interval_sheet, main_sheets, policy_sheet
    from vision_r1.run_folder import Run

    run, recipes = Run.read(args.run), presets(args.config)
    seed, scored = run.config["seed"], run.scored(run.checkpoints)
    results = [result for pair in scored for result in of_metrics(run.metrics(*pair), *pair, seed)]
    comparison = read_comparison(run.comparison)
    results = with_differences(results, comparison)
    warning = banner(run.config, recipes)
    published = published_numbers(run.config, recipes, read_json(run.anchors("all")))

    main_tables = main_sheets(results, published)
    write_csv(run.results, results)
    write_text(run.tables / "results.md", as_markdown(main_tables, warning))
    write_text(run.tables / "results.tex", as_latex(main_tables, warning))
    found = reasons(run.read_metrics(scored), run.checkpoints, pairs(results))
    tables = (comparison_sheet(comparison), interval_sheet(results), policy_sheet(results, run.checkpoints))
    for sheet in (*tables, *reason_sheets(found)):
        write_sheet(run.tables, sheet, warning)


if __name__ == "__main__":
    cli.run(main)
