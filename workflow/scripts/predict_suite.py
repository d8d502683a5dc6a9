"""Predict a whole suite with one checkpoint: all its data sets under all its protocols.

Example:
  python workflow/scripts/predict_suite.py --family qwen2_5_vl --checkpoint models/base/model \\
      --dataset scenes_test scenes/annotations.json scenes/images --min_pixels 784 --max_pixels 7840 \\
      --protocol all-categories '{"prompts": "per-category", "max_new_tokens": 40}' \\
      --batch_size 128 --threads 1 --dtype float32 --output_predictions predictions.jsonl

The same question under two protocols is answered once. A run that was interrupted resumes where it
stopped, from the files beside the output that end in .partial.jsonl.

On several GPUs: `accelerate launch --multi_gpu --num_processes 8 workflow/scripts/predict_suite.py ...`; each process
answers its share of the batches on a GPU of its own, the first one writes the output. The processes may be on several
machines that share the output's folder.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import add_datasets, parser, run, whole_number
from vision_r1.evaluation.answers import BACKENDS
from vision_r1.launcher.devices import take_one_card
from vision_r1.models import DTYPES


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = parser(__doc__)
    arguments.add_argument("--family", required=True, help="model family")
    arguments.add_argument("--checkpoint", required=True, metavar="DIR", help="model folder")
    add_datasets(arguments, "ANNOTATIONS", "IMAGES")
    arguments.add_argument(
        "--protocol",
        nargs=2,
        action="append",
        required=True,
        metavar=("NAME", "JSON"),
        help="a protocol: its name and configuration entry (see vision_r1/evaluation/protocols.py); repeat",
    )
    arguments.add_argument("--min_pixels", type=int, required=True, help="fewest pixels, for protocols without a limit")
    arguments.add_argument("--max_pixels", type=int, required=True, help="most pixels, for protocols without a limit")
    arguments.add_argument(
        "--batch_size", type=whole_number(1), required=True, help="questions answered at once; vLLM gets 512 or more"
    )
    arguments.add_argument("--threads", type=whole_number(1), default=1, help="torch threads")
    arguments.add_argument("--dtype", choices=DTYPES, required=True, help="number format")
    arguments.add_argument("--backend", choices=list(BACKENDS), default="transformers", help="what generates")
    arguments.add_argument("--output_predictions", required=True, type=Path, metavar="FILE", help="JSONL file to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # As accelerate launch and torchrun set them; the processes share files, and need no process group.
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if args.backend == "vllm":
        take_one_card(os.environ)
    from vision_r1.data.coco import check_images, read_all
    from vision_r1.evaluation.protocols import Protocol, read_entries, requests

    limits = args.min_pixels, args.max_pixels
    protocols = [Protocol.of(name, entry, *limits) for name, entry in read_entries(args.protocol).items()]
    datasets = read_all(args.dataset)
    images = [image for dataset in datasets for image in dataset.images]
    # Images are checked before a model is loaded; each process checks its share.
    own_images = images[rank::processes]
    check_images({image.path: (image.width, image.height) for image in own_images}, args.threads)
    asked = [request for dataset in datasets for protocol in protocols for request in requests(protocol, dataset)]

    import torch
    import transformers

    from vision_r1.evaluation.predict import Generates, Share, predict
    from vision_r1.families import family
    from vision_r1.models import check_checkpoint
    from vision_r1.stamps import code_stamp

    torch.set_num_threads(args.threads)
    settings = {
        "backend": args.backend,
        "dtype": args.dtype,
        "gpu": torch.cuda.is_available(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "code": code_stamp(__file__),
    }
    if args.backend == "vllm":
        from vision_r1.evaluation.vllm_generation import VllmGenerator, import_vllm

        settings["vllm"] = import_vllm().__version__
    own = family(args.family)
    check_checkpoint(args.checkpoint, own)

    def generator() -> Generates:
        if args.backend == "vllm":
            return VllmGenerator(args.checkpoint, own, args.dtype)
        from vision_r1.evaluation.generation import Generator

        return Generator(args.checkpoint, own, args.dtype)

    batch_size = max(args.batch_size, BACKENDS[args.backend])
    share = Share(rank, processes)
    predict(asked, args.checkpoint, own, generator, batch_size, args.output_predictions, settings, share)


if __name__ == "__main__":
    run(main)
