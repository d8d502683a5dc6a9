"""Score completions offline, as training would reward them.

Reads one JSON object a line: id, completion, width, height, input_width, input_height, and the ground truth
as solution ([[label, [x1, y1, x2, y2]], ...], pixels of the original image; a list or its JSON text) or as
objects ([{"label", "bbox"}, ...]). Optional are frame (else --frame), categories or target_id_map (the labels
that were asked for) and num_instances (checked). Writes one line for each: id, the parts of the reward (Vision-R1's:
dual_format, recall, precision) and verdict (how the text was read; vision_r1/parsing.py lists them).

Example:
    python workflow/scripts/score_completions.py --criterion strict --stage stage1 answers.jsonl scores.jsonl
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from vision_r1.cli import parser, run
from vision_r1.files import UserError, write_jsonl


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from vision_r1.frames import FRAMES
    from vision_r1.rewards import CRITERIA, REWARD_THRESHOLDS
    from vision_r1.zoo import ZOO

    arguments = parser(__doc__)
    arguments.add_argument("input", metavar="FILE", help="JSON lines to score; - reads standard input")
    arguments.add_argument("output", help="JSON lines to write")
    arguments.add_argument("--criterion", choices=(*CRITERIA, *ZOO), required=True)
    arguments.add_argument("--stage", choices=REWARD_THRESHOLDS, help=f"thresholds of {', '.join(CRITERIA)}")
    arguments.add_argument("--frame", choices=FRAMES, default="pixel", help="of lines that name none (default: pixel)")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    from vision_r1.rewards import CRITERIA, Criterion
    from vision_r1.zoo import ZooReward

    args = parse_args(argv)
    staged = args.criterion in CRITERIA
    if staged != (args.stage is not None):
        raise UserError(f"--stage: {args.criterion} {'has one: give it' if staged else 'has none: leave it out'}")
    criterion = Criterion.named(args.criterion, args.stage) if staged else ZooReward(args.criterion)
    write_jsonl(args.output, (score(criterion, args.frame, place, line) for place, line in read_lines(args.input)))


def read_lines(path: str) -> Iterator[tuple[str, str]]:
    """Yield (file and line number, text) of every line that is not blank."""
    try:
        number, found = 0, False
        # Bytes, for text files are also cut at carriage returns.
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                    found = True
                    yield f"{path}: line {number}", text
        if not found:
            raise UserError(f"{'standard input' if path == '-' else path}: no completions; it is empty")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: line {number}: not UTF-8 text ({error})") from None


def score(criterion, frame: str, place: str, line: str) -> dict[str, Any]:
    """Return the output line of one input line. Raises UserError naming file, line and field."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("not a JSON object")
        row = {"frame": frame} | row
        if "categories" not in row and isinstance(row.get("target_id_map"), dict):
            row["categories"] = list(row["target_id_map"])
        check(row)
        judged = criterion.score(row["completion"], row)
        return {
            "id": row["id"],
            **{name: judged.parts[name] for name in criterion.part_weights()},
            "verdict": judged.verdict,
        }
    except KeyError as error:
        raise UserError(f"{place}: {error.args[0]}: the field is missing") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{place}: not valid JSON ({error})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: {error}") from None


def check(row: dict[str, Any]) -> None:
    """Raise ValueError naming the field that scoring could not use, KeyError where it is missing."""
    from vision_r1.ground_truth import ground_truth

    if not isinstance(row["completion"], str):
        raise ValueError("completion: not text")
    try:
        json.dumps(row["id"], ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # NaN, as pandas writes it; half of a character
        raise ValueError("id: can't be written") from None
    categories = row.get("categories")
    if categories is not None and not (isinstance(categories, list) and all(isinstance(c, str) for c in categories)):
        raise ValueError("categories: not a list of texts")
    count = len(ground_truth(row)[1])
    if row.get("num_instances", count) != count:
        raise ValueError(f"num_instances: {row['num_instances']!r}, but the ground truth has {count} objects")


def command() -> None:
    """Run as a console command of the installed package."""
    run(main)


if __name__ == "__main__":
    command()
