"""Tabulate the ablations: mean and spread over training seeds, what each experiment changes, and a figure of it.

Writes ablations.csv, .md and .tex into the run's folder of tables and ablations.svg and .png into that of figures.

Example:
  python workflow/scripts/tabulate_ablations.py --run results/miniature

With --partial, what was not measured is shown as waiting, or as unfinished with the last log line of the first job that
did not end. The files are then named ablations_partial.*, so that nobody takes them for complete.
"""

import argparse
from collections.abc import Sequence
from dataclasses import astuple, fields

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    cli.add_run(arguments)
    cli.add_presets(arguments)
    arguments.add_argument("--partial", action="store_true", help="show what was measured, and why the rest was not")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.evaluation.compare import read_measured
    from vision_r1.evaluation.published import read_published
    from vision_r1.experiments import BASE, checkpoints_of, split_checkpoint
    from vision_r1.files import read_json, write_text
    from vision_r1.preflight.batches import Budget, budget, training_batches
    from vision_r1.report.ablation_figure import draw
    from vision_r1.report.ablations import Line, ablation_lines, ablation_sheets, arms_of, cause
    from vision_r1.report.comparability import banner
    from vision_r1.report.sheets import as_latex, as_markdown
    from vision_r1.report.text import as_csv
    from vision_r1.run_folder import Run

    run, recipes = Run.read(args.run), presets(args.config)
    config, names = run.config, run.config["ablations"]["experiments"]
    checkpoints = [BASE, *run.ends("ablations")]
    causes = {name: cause(run.jobs(name)) for name in checkpoints} if args.partial else {}
    measured = {
        name: {
            suite: read_measured(suite, run.metrics(name, suite), run.resamples(name, suite)) for suite in run.suites
        }
        for name in checkpoints
        if not causes.get(name)
    }
    arms = arms_of(config, measured, causes)
    lines = ablation_lines(arms, names[0], run.benchmarks)

    def budget_of(name: str) -> Budget | None:
        trained = checkpoints_of(config, [name], [0])[1:]
        if args.partial and not all(run.curation(split_checkpoint(each)[0]).is_file() for each in trained):
            return None
        return budget(config, training_batches(config, lambda arm: read_json(run.curation(arm))["rows"], [name]), name)

    budgets = {name: budget_of(name) for name in names}
    sheets = ablation_sheets(config, arms, lines, budgets, read_published(f"{args.config}/published.yaml"), recipes)
    warning, stem = banner(config, recipes), "ablations_partial" if args.partial else "ablations"
    draw(lines, names[0], run.figures / stem, warning)
    write_text(run.tables / f"{stem}.csv", as_csv((field.name for field in fields(Line)), map(astuple, lines)))
    write_text(run.tables / f"{stem}.md", as_markdown(sheets, warning))
    write_text(run.tables / f"{stem}.tex", as_latex(sheets, warning))


if __name__ == "__main__":
    cli.run(main)
