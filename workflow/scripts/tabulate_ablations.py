"""Tabulate the ablations: mean and spread over training seeds, what each experiment changes, and a figure of it.

Writes ablations.csv, .md and .tex into the folder of tables and ablations.svg and .png into that of figures.

Example:
  python workflow/scripts/tabulate_ablations.py --config results/miniature/config.json \\
      --metrics strict/grpo_stage2 coco metrics/strict/grpo_stage2/coco.json \\
          metrics/strict/grpo_stage2/coco.resamples.npz \\
      --published config/published.yaml --tables tables --figures figures

With --job, what was not measured is shown as failed, by the last line of the log of the first job that did not end.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__, word_files=True)
    arguments.add_argument("--config", required=True, metavar="FILE", help="the run's resolved configuration, JSON")
    cli.add_measured(arguments)
    arguments.add_argument("--published", required=True, metavar="FILE", help="published numbers, YAML")
    arguments.add_argument("--presets", metavar="DIR", help="folder config/, with the published recipes' presets")
    arguments.add_argument("--curation", required=True, metavar="FILE", help="summary of curate_train.py")
    arguments.add_argument(
        "--job",
        nargs=3,
        action="append",
        default=[],
        metavar=("CHECKPOINT", "OUTPUT", "LOG"),
        help="a job that a checkpoint's numbers need, with its output and its log, first things first; repeat",
    )
    arguments.add_argument("--tables", required=True, metavar="DIR")
    arguments.add_argument("--figures", required=True, metavar="DIR")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.evaluation.compare import read_measured
    from vision_r1.evaluation.published import read_published
    from vision_r1.files import read_json, write_text
    from vision_r1.preflight.batches import budget, training_batches
    from vision_r1.report.ablation_figure import draw
    from vision_r1.report.ablations import ablation_lines, ablation_sheets, arms_of, as_csv, cause
    from vision_r1.report.published import banner
    from vision_r1.report.sheets import as_latex, as_markdown

    config, recipes = read_json(args.config), presets(args.presets) if args.presets else {}
    measured: dict[str, dict] = {name: {} for name, *_ in args.metrics}
    for checkpoint, suite, metrics, resamples in args.metrics:
        if not args.job or Path(resamples).is_file():
            measured[checkpoint][suite] = read_measured(suite, metrics, resamples)
    causes = {name: cause([job for job in args.job if job[0] == name]) for name in measured}
    arms = arms_of(config, measured, causes)
    names = config["ablations"]["experiments"]
    benchmarks = [
        (suite, protocol)
        for suite in config["report"]["suites"]
        for protocol in config["evaluation"]["suite_protocols"][suite]
    ]
    lines = ablation_lines(arms, names[0], benchmarks)
    batches = training_batches(config, read_json(args.curation)["rows"], names)
    budgets = {name: budget(config, batches, name) for name in names}
    sheets = ablation_sheets(config, arms, lines, budgets, read_published(args.published), recipes)
    warning, folder = banner(config, recipes), Path(args.tables)
    draw(lines, names[0], Path(args.figures) / "ablations", warning)
    write_text(folder / "ablations.csv", as_csv(lines))
    write_text(folder / "ablations.md", as_markdown(sheets, warning))
    write_text(folder / "ablations.tex", as_latex(sheets, warning))


if __name__ == "__main__":
    cli.run(main)
