"""Say, before any job, what a run will do and need. No GPU, no weights, no downloads.

The page on standard output tells batches in words, longest prompt and answer, GPU memory part by part, disk,
GPU-hours and price, and where the arms differ. What can't be known yet (a training file that isn't curated, a model
that isn't fetched) is bounded from the configuration, and the page says so. Exits with one line for what must be
mended.

Example:
  python workflow/scripts/check_run.py --config results/miniature/config.json \\
      --train_file results/miniature/data/train.jsonl --models results/miniature/models \\
      --output_page preflight.txt --output_summary preflight.json
"""

import argparse
import sys
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--config", required=True, help="the merged configuration as JSON")
    arguments.add_argument("--train_file", required=True, help="the training file; it may not be there yet")
    arguments.add_argument("--models", required=True, help="folder of the run's checkpoints; it may not be there yet")
    arguments.add_argument(
        "--dataset",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "ANNOTATIONS"),
        help="a test set and its annotation file, which may not be there yet; repeat, to count prompts",
    )
    arguments.add_argument("--output_page", required=True, help="text file, what is printed")
    arguments.add_argument("--output_summary", required=True, help="JSON file, the same figures")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import UserError, read_json, write_json, write_text
    from vision_r1.preflight.page import page
    from vision_r1.preflight.run import survey

    summary = survey(read_json(args.config), args.train_file, args.models, dict(args.dataset))
    text = page(summary)
    write_text(args.output_page, text)
    write_json(args.output_summary, summary)
    sys.stdout.write(text)
    if summary["problems"]:
        raise UserError(f"{len(summary['problems'])} to mend before this run: {'; '.join(summary['problems'])}")


if __name__ == "__main__":
    cli.run(main)
