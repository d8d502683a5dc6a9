"""Say, before any job, what a run will do and need. No GPU, no weights, no downloads.

The page on standard output gives the batches in words, the longest prompt and answer, GPU memory part by part, disk,
GPU-hours and price, and the differences between arms. What can't be known yet (a training file that isn't curated, a
model that isn't fetched) is bounded from the configuration, and the page says so. What must be fixed is one line on
standard error, and exit status 1.

Example:
  python workflow/scripts/check_run.py --run results/miniature --output_page preflight.txt \\
      --output_summary preflight.json
"""

import argparse
import sys
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    cli.add_run(arguments)
    arguments.add_argument("--output_page", required=True, help="text file to write: what is printed")
    arguments.add_argument("--output_summary", required=True, help="JSON file to write: the same numbers")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import UserError, write_json, write_text
    from vision_r1.preflight.page import page
    from vision_r1.preflight.survey import survey
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    summary = survey(run)
    text = page(summary)
    write_text(args.output_page, text)
    write_json(args.output_summary, summary)
    sys.stdout.write(text)
    if problems := summary["problems"]:
        raise UserError(
            f"preflight found {len(problems)} problem{'s' if len(problems) > 1 else ''}: {'; '.join(problems)}"
        )


if __name__ == "__main__":
    cli.run(main)
