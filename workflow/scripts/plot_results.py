"""Draw the figures of a run: scores by checkpoint and data set, training by step, precision over recall.

Writes ap_by_checkpoint, boxes_by_checkpoint, ap_by_dataset, reward_by_step, signal_by_step, verdicts_by_step,
loss_by_step and precision_recall, each as .svg and .png; a figure without any numbers says so.

Example:
  python workflow/scripts/plot_results.py --config results/miniature/config.json \\
      --results results/miniature/tables/results.csv \\
      --history strict/grpo_stage1 results/miniature/models/strict/grpo_stage1/history.jsonl \\
      --history strict/grpo_stage2 results/miniature/models/strict/grpo_stage2/history.jsonl \\
      --output_directory results/miniature/figures
"""

import argparse
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.parser(__doc__, word_files=True)
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's resolved configuration, JSON")
    parser.add_argument("--results", required=True, metavar="FILE", help="results.csv of tabulate_results.py")
    parser.add_argument(
        "--history",
        nargs=2,
        action="append",
        default=[],
        metavar=("CHECKPOINT", "FILE"),
        help="history.jsonl of one training; repeat",
    )
    cli.add_metrics(parser, "for its precision-recall curves")
    parser.add_argument("--note", help="one line under every figure, such as the report's banner")
    parser.add_argument("--output_directory", required=True, metavar="DIR")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.experiments import chains
    from vision_r1.files import read_json, read_jsonl
    from vision_r1.report.figures import draw_all
    from vision_r1.report.results import read_csv

    histories = {checkpoint: read_jsonl(path) for checkpoint, path in args.history}
    metrics = {(checkpoint, suite): read_json(path) for checkpoint, suite, path in args.metrics}
    config = read_json(args.config)
    arms = chains(config, config["report"]["experiments"], config["report"]["training_seeds"])
    draw_all(read_csv(args.results), arms, histories, metrics, args.output_directory, args.note)


if __name__ == "__main__":
    cli.run(main)
