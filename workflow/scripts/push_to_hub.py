"""Upload a release to the Hugging Face hub. It only shows what it would upload, unless --upload is given.

Only the model card and the files that the release was written with, those named in seal.sha256, are uploaded.

The token is the hub's own (`hf auth login`, or HF_TOKEN in the environment); this program never reads or prints it.

Examples:
  python workflow/scripts/push_to_hub.py --release results/miniature/release/strict/grpo_stage2 --repository me/model
  python workflow/scripts/push_to_hub.py --release results/miniature/release/strict/grpo_stage2 --repository me/model \\
      --private --upload
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import parser, run


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--release", required=True, type=Path, metavar="DIR", help="folder of release_checkpoint.py")
    arguments.add_argument("--repository", required=True, metavar="OWNER/NAME", help="created if missing")
    arguments.add_argument("--private", action="store_true", help="make it a private repository")
    arguments.add_argument("--upload", action="store_true", help="upload; without it nothing leaves this machine")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.files import SEAL, UserError, read_text
    from vision_r1.hub import check_name, upload
    from vision_r1.model_folder import check_files, check_model, check_weights, sealed_files, weight_files

    check_name(args.repository)
    check_files(args.release, ["README.md", SEAL])
    check_model(args.release)
    weights = weight_files(args.release)
    check_weights(args.release, weights)
    names = sorted(["README.md", SEAL, *sealed_files(args.release)])
    if missing := sorted({"config.json", "tokenizer_config.json", *weights} - {*names}):
        raise UserError(f"{args.release / SEAL}: does not name {missing[0]}; release the checkpoint again")
    left_out = sorted({path.name for path in args.release.iterdir() if not path.name.startswith(".")} - {*names})
    sizes = {name: (args.release / name).stat().st_size for name in names}
    kind = "private" if args.private else "public"
    say(f"From {args.release} to the {kind} repository {args.repository}:")
    for name, size in {**sizes, "all": sum(sizes.values())}.items():
        say(f"{size:>16,} bytes  {name}")
    if left_out:
        say(f"Left out, since they are not part of the release: {', '.join(left_out)}")
    say("\nThe model card, README.md:\n")
    say(read_text(args.release / "README.md"))
    if not args.upload:
        say("Nothing was uploaded. Give --upload to do it.")
        return
    say(f"Uploaded: {upload(args.repository, args.release, names, args.private)}")


def say(text: str) -> None:
    """Write text to standard output."""
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    run(main)
