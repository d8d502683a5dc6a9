"""Lay a trained checkpoint out to be handed on: model and processor as they are, and a model card (README.md).

The weights are hard links where the disk allows it, so they take no room; the folder loads with plain transformers.

Example:
  python workflow/scripts/release_checkpoint.py --checkpoint strict/grpo_stage2 \\
      --config results/miniature/config.json --model results/miniature/models/strict/grpo_stage2/model \\
      --base results/miniature/models/base/model \\
      --training results/miniature/models/strict/grpo_stage2/metrics.json \\
      --curation results/miniature/data/curation.json --comparison results/miniature/tables/comparison.json \\
      --output results/miniature/release/strict/grpo_stage2
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--checkpoint", required=True, metavar="NAME", help="its name in the run")
    arguments.add_argument("--model", required=True, type=Path, metavar="DIR", help="its model and processor")
    arguments.add_argument("--base", required=True, type=Path, metavar="DIR", help="the base model, for its licence")
    arguments.add_argument("--config", required=True, metavar="FILE", help="the run's resolved configuration, JSON")
    arguments.add_argument("--training", required=True, metavar="FILE", help="metrics.json of its training")
    arguments.add_argument("--curation", required=True, metavar="FILE", help="summary of curate_train.py")
    arguments.add_argument("--comparison", required=True, metavar="FILE", help="comparison of compare_checkpoints.py")
    arguments.add_argument(
        "--licence", nargs=2, action="append", default=[], metavar=("SOURCE", "TEXT"), help="of training data; repeat"
    )
    arguments.add_argument("--output", required=True, metavar="DIR")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import UserError, link_or_copy, read_json, written_whole
    from vision_r1.report.card import card

    if not list(args.model.glob("*.safetensors")):
        raise UserError(f"{args.model}: holds no .safetensors file; give the folder of a trained model")
    licence_files = sorted(args.base.glob("LICENSE*"))
    text = card(
        args.checkpoint,
        read_json(args.config),
        read_json(args.training),
        read_json(args.curation),
        read_json(args.comparison),
        dict(args.licence),
        [path.name for path in licence_files],
    )
    with written_whole(args.output) as folder:
        folder.mkdir()
        for path in [*licence_files, *sorted(args.model.iterdir())]:
            if path.is_file() and not path.name.startswith("."):  # Snakemake's mark is not the model's
                # Only weights are linked: a small file that is edited here must not change the run's.
                copy = link_or_copy if path.suffix == ".safetensors" else shutil.copy2
                copy(path, folder / path.name)
        (folder / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
