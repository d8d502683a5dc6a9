"""Audit the rewards: where does an answer get worse for COCO AP and not for the reward?

Takes the ground truth of training rows that have objects, makes it worse in families of growing strength (jitter,
spam, duplicates, wrong labels, truncation, ...) and computes mean rewards beside the AP of the very same answers. The
rewards are those that --criterion names (what trainings are rewarded with) and Vision-R1's published ones for
reference. Writes all numbers, F1 among them, as a table, a figure of reward against AP, and a summary with each
reward's Spearman correlations and the loopholes: AP falls by 5 points or more, the reward by less than 0.05 of 3.

Example:
    python workflow/scripts/audit_rewards.py --train_file results/miniature/data/train.jsonl --samples 200 --seed 0 \\
        --criterion strict/grpo_stage1 '{"criterion": "strict", "recall_threshold": 0.5, "precision_low": 0.5, \\
        "precision_high": 0.75}' \\
        --output_table audit.csv --output_figure audit.svg --output_loopholes loopholes.md --output_summary audit.json
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from vision_r1.cli import figure, parser, run, whole_number
from vision_r1.files import UserError, write_json, write_text


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--train_file", required=True, metavar="FILE", help="rows as curate_train.py writes them")
    arguments.add_argument("--samples", type=whole_number(1), default=200, help="rows to draw at most (default: 200)")
    arguments.add_argument("--seed", type=whole_number(0), default=0)
    arguments.add_argument(
        "--criterion",
        nargs=2,
        action="append",
        default=[],
        metavar=("CHECKPOINT", "JSON"),
        help="what a checkpoint's training rewards: keys of sections reward and grpo_stage1 or grpo_stage2, and "
        "reward_weights; repeat. Equal rewards are audited once",
    )
    arguments.add_argument("--output_table", required=True, help=".csv")
    arguments.add_argument(
        "--output_figure",
        required=True,
        nargs="+",
        type=figure,
        metavar="FILE",
        help=".svg or .png: those of --criterion, or all",
    )
    arguments.add_argument(
        "--output_references",
        nargs="+",
        default=[],
        type=figure,
        metavar="FILE",
        help=".svg or .png: the other published criteria",
    )
    arguments.add_argument("--output_loopholes", required=True, help=".md, a table")
    arguments.add_argument("--output_summary", required=True, help=".json")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.audit import Reward, audit, audited, loopholes, rank_correlation, sample
    from vision_r1.report.audit_figure import draw
    from vision_r1.report.text import as_csv

    configured = {}
    for name, words in args.criterion:
        try:
            configured[name] = Reward.of(dict(json.loads(words)))
        except (TypeError, ValueError) as error:
            raise UserError(f"--criterion {name}: {error}") from None
    rewards = audited(configured)
    rows = sample(args.train_file, args.samples, args.seed)
    roles = {entry["name"]: "configured" if entry["checkpoints"] else "reference" for entry in rewards}
    records = audit(rows, {entry["name"]: entry["reward"] for entry in rewards}, args.seed)
    records = [{"role": roles[record["criterion"]], **record} for record in records]
    blind = [{"role": roles[found["criterion"]], **found} for found in loopholes(records)]
    for entry in rewards:
        entry |= asdict(entry.pop("reward"))
        own_records = [record for record in records if record["criterion"] == entry["name"]]
        entry["spearman"], entry["spearman_f1"] = (rank_correlation(own_records, metric) for metric in ("ap", "f1"))
    columns = list(dict.fromkeys(chain(*records)))
    write_text(args.output_table, as_csv(columns, ([record.get(name) for name in columns] for record in records)))
    own = [entry for entry in rewards if entry["checkpoints"]]
    others = [entry for entry in rewards if not entry["checkpoints"]]
    draw(records, blind, own or others, args.output_figure)
    if args.output_references:
        draw(records, blind, others, args.output_references)
    write_text(args.output_loopholes, loophole_table(blind))
    summary = {"samples": len(rows), "seed": args.seed, "rewards": rewards, "loopholes": blind}
    write_json(args.output_summary, summary, sealed=True)
    for entry in rewards:
        correlation = "none" if entry["spearman"] is None else f"{entry['spearman']:.2f}"
        logging.info("Spearman's correlation with AP: %s for %s (%s)", correlation, entry["name"], roles[entry["name"]])
    for found in blind:
        logging.info("loophole: %(criterion)s (%(role)s) %(family)s AP -%(ap_fall).3f reward -%(reward_fall).3f", found)


def loophole_table(blind: Sequence[dict[str, Any]]) -> str:
    """Return the loopholes as a Markdown table; AP in points."""
    row = "| {criterion} | {role} | {family} | {strength} | {points:.1f} | {reward_fall:.3f} |"
    lines = ["| reward | role | family | strength | AP falls by | reward falls by |", "|" + " --- |" * 6]
    lines += [row.format(**found, points=100 * found["ap_fall"]) for found in blind]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run(main)
