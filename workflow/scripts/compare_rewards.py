"""Compare what rewards pay for: Vision-R1's criteria and other methods' rewards, on the same answers, with AP and F1.

Makes ground truth worse, as audit_rewards.py does. Plots how much of its value each reward keeps, and writes a table of
Spearman correlations and loopholes between two markers of a Markdown page.

Example (make rewards):
    python workflow/scripts/compare_rewards.py --train_file results/miniature/data/train.jsonl \\
        --output_figure docs/rewards.png --page docs/rewards.md
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1.cli import figure, parser, run, whole_number
from vision_r1.files import UserError, read_text, write_text

BEGIN, END = "<!-- begin: make rewards -->\n", "<!-- end: make rewards -->\n"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--train_file", required=True, metavar="FILE", help="rows as curate_train.py writes them")
    arguments.add_argument("--samples", type=whole_number(1), default=200, help="most rows to sample (default: 200)")
    arguments.add_argument("--seed", type=whole_number(0), default=0)
    arguments.add_argument(
        "--output_figure", required=True, nargs="+", type=figure, metavar="FILE", help=".svg or .png"
    )
    arguments.add_argument(
        "--page", required=True, metavar="FILE", help=f".md with the lines {BEGIN.strip()!r} and {END.strip()!r}"
    )
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.audit import OTHERS, PUBLISHED, Reward, audit, kept, loopholes, sample
    from vision_r1.report.ablations import rewarded_parts
    from vision_r1.report.audit_figure import draw_kept
    from vision_r1.rewards import Criterion

    around(args.page)  # so that a page without markers fails at once
    beginner = {name: PUBLISHED[name] for name in ("paper, stage1", "released_2025, stage1", "upstream_2026, raw")}
    rewards = beginner | {"strict, stage1": Reward(Criterion.named("strict", "stage1")), **OTHERS}
    rows = sample(args.train_file, args.samples, args.seed)
    records = audit(rows, rewards, args.seed)
    for record in records:
        if record["strength"] == 0 and not all(record[key] for key in ("reward", "ap", "f1")):
            raise UserError(f"{args.train_file}: right answers earn 0 under {record['criterion']}: are boxes empty?")
    blind = loopholes(records)
    own = {name: [record for record in records if record["criterion"] == name] for name in rewards}
    metrics = {"AP": kept(next(iter(own.values())), "ap"), "F1": kept(next(iter(own.values())), "f1")}
    draw_kept(metrics | {name: kept(each) for name, each in own.items()}, blind, args.output_figure)
    before, after = around(args.page)
    sums = {name: rewarded_parts(reward.criterion, None) for name, reward in rewards.items()}
    write_text(args.page, before + table(own, sums, blind) + after)


def around(page: str) -> tuple[str, str]:
    """Return the text before and after the table, markers included. Raises UserError for a page without them."""
    if not Path(page).is_file():
        raise UserError(f"{page}: no such file; --page is a page that exists, with the two lines for the table")
    text = read_text(page)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"{page}: the table goes between two lines, once each: {BEGIN.strip()} and {END.strip()}")
    return text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]


def table(
    records: Mapping[str, Sequence[Mapping[str, Any]]], sums: Mapping[str, str], blind: Sequence[Mapping[str, Any]]
) -> str:
    """Return the rewards as a Markdown table: terms of the sum, correlations, loopholes and how far AP falls."""
    from vision_r1.audit import rank_correlation

    lines = ["| reward | sum | Spearman, AP | Spearman, F1 | loopholes (fall of AP) |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, own in records.items():
        correlations = (rank_correlation(own, metric) for metric in ("ap", "f1"))
        ap, f1 = ("–" if each is None else f"{each:.2f}" for each in correlations)
        holes = []
        for hole in (hole for hole in blind if hole["criterion"] == name):
            place = "" if hole["strength"] == 1 else f" at strength {hole['strength']:g}"
            holes.append(f"{hole['family'].replace('_', ' ')} (AP \N{MINUS SIGN}{100 * hole['ap_fall']:.0f}{place})")
        lines.append(f"| {name} | {sums[name]} | {ap} | {f1} | {', '.join(holes) or 'none'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
