"""Draw the pipeline: its rules in the order of work, and how long the jobs of each took.

Reads the output of `snakemake --rulegraph` from standard input, and Snakemake's benchmark files.

Example:
  snakemake --rulegraph | python workflow/scripts/draw_rulegraph.py --benchmarks results/miniature/benchmarks \\
      --output results/miniature/figures/rulegraph
"""

import argparse
import sys
from collections.abc import Sequence

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument("--benchmarks", required=True, metavar="DIR", help="folder of Snakemake's benchmark files")
    parser.add_argument("--output", required=True, metavar="STEM", help="writes STEM.svg and STEM.png")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.report.provenance import benchmarks, stages
    from vision_r1.report.rulegraph import draw_rulegraph, read_rulegraph

    draw_rulegraph(read_rulegraph(sys.stdin.read()), stages(benchmarks(args.benchmarks)), args.output)


if __name__ == "__main__":
    cli.run(main)
