"""Draw the figures of a run: scores by checkpoint and data set, training by step, precision over recall.

Into the run's folder of figures go ap_by_checkpoint, boxes_by_checkpoint, ap_by_dataset, reward_by_step,
signal_by_step, verdicts_by_step, loss_by_step and precision_recall, each as .svg and .png; a figure without any numbers
says so. The report's banner stands under each.

Example:
  python workflow/scripts/plot_results.py --run results/miniature
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
    from vision_r1.experiments import chains
    from vision_r1.files import read_jsonl
    from vision_r1.report.comparability import banner
    from vision_r1.report.figures import draw_all
    from vision_r1.report.results import read_csv
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    report = run.config["report"]
    draw_all(
        read_csv(run.results),
        chains(run.config, report["experiments"], report["training_seeds"]),
        {checkpoint: read_jsonl(run.history(checkpoint)) for checkpoint in run.trained},
        run.read_metrics(run.scored(run.checkpoints)),
        run.figures,
        banner(run.config, presets(args.config)),
    )


if __name__ == "__main__":
    cli.run(main)
