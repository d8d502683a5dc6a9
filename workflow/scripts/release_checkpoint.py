"""Lay a trained checkpoint out to be handed on: model and processor as they are, and a model card (README.md).

The weights are hard links where the disk allows it, so they take no room; the folder loads with plain transformers.

Example:
  python workflow/scripts/release_checkpoint.py --run results/miniature --checkpoint strict/grpo_stage2 \\
      --output_folder results/miniature/release/strict/grpo_stage2
"""

import argparse
import shutil
from collections.abc import Sequence

from vision_r1.cli import add_run, parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    add_run(arguments)
    arguments.add_argument("--checkpoint", required=True, metavar="NAME", help="its name in the run")
    arguments.add_argument("--output_folder", required=True, metavar="DIR")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.places import licences
    from vision_r1.experiments import BASE, split_checkpoint
    from vision_r1.files import UserError, hash_folder, link_or_copy, read_json, written_whole
    from vision_r1.report.card import card
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    model = run.model(args.checkpoint)
    if not list(model.glob("*.safetensors")):
        raise UserError(f"{model}: holds no .safetensors file; give the name of a trained checkpoint")
    licence_files = sorted(run.model(BASE).glob("LICENSE*"))
    arm, _ = split_checkpoint(args.checkpoint)
    text = card(
        args.checkpoint,
        run.config,
        read_json(run.training(args.checkpoint)),
        read_json(run.curation(arm)),
        read_json(run.comparison),
        licences(run.config, run.trained_on),
        [path.name for path in licence_files],
    )
    files = [*licence_files, *(model / name for name in hash_folder(model))]
    with written_whole(args.output_folder, sealed=True) as folder:
        folder.mkdir()
        for path in files:
            # Only weights are linked: a small file that is edited here must not change the run's.
            copy = link_or_copy if path.suffix == ".safetensors" else shutil.copy2
            copy(path, folder / path.name)
        (folder / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
