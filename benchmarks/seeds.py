"""Compare several chains: AP of every checkpoint by chain seed, as a Markdown table.

Example, after `snakemake --cores all --config seed=N` for N = 0, 1, 2:
  python benchmarks/seeds.py results/miniature results/miniature_seed1 results/miniature_seed2
"""

import argparse
import sys

import pandas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="DIR", help="folder of a run")
    runs = parser.parse_args().runs
    results = pandas.concat([pandas.read_csv(f"{run}/tables/results.csv") for run in runs])
    # A suite of one data set has no mean; it is that set's AP.
    means = results[results["dataset"] == "mean"]
    for (suite, protocol), part in means.groupby(["suite", "protocol"], sort=False):
        table = 100 * part.pivot(index="checkpoint", columns="chain_seed", values="AP")
        table = table.reindex(part["checkpoint"].unique())
        table.columns = [f"seed {seed}" for seed in table.columns]
        table["mean"] = table.mean(axis=1)
        sys.stdout.write(f"AP x 100, suite {suite}, protocol {protocol}\n\n")
        sys.stdout.write(table.to_markdown(floatfmt=".1f") + "\n\n")


if __name__ == "__main__":
    main()
