"""Draw the pipeline: its rules in the order of work, and how long the jobs of each took.

Reads the output of `snakemake --rulegraph` from standard input, and Snakemake's benchmark files. Writes rulegraph.svg
and rulegraph.png into the run's folder of figures.

Example:
  snakemake --rulegraph | python workflow/scripts/draw_rulegraph.py --run results/miniature
"""

import argparse
import sys
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    cli.add_run(arguments)
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.report.provenance import read_jobs, rule_costs
    from vision_r1.report.rulegraph import draw_rulegraph, read_rulegraph
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    jobs = read_jobs(run.costs, run.costs_shown)
    draw_rulegraph(read_rulegraph(sys.stdin.read()), rule_costs(jobs), run.figures / "rulegraph")


if __name__ == "__main__":
    cli.run(main)
