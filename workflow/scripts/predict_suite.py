"""Predict a whole suite with one checkpoint: all its data sets under all its protocols, greedy decoding.

Example:
  python workflow/scripts/predict_suite.py --family qwen2_5_vl --checkpoint models/base/model \\
      --dataset scenes_test scenes/annotations.json scenes/images --min_pixels 784 --max_pixels 7840 \\
      --protocol all-categories '{"prompts": "per-category", "max_new_tokens": 40}' \\
      --batch_size 128 --threads 1 --dtype float32 --output predictions.jsonl

The same question under two protocols is answered once. A run that was interrupted goes on where it
stopped, from the file beside the output that ends in .partial.jsonl.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vision_r1.cli import add_datasets, parser, run, whole_number


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
    arguments.add_argument("--min_pixels", type=int, required=True, help="limit of protocols without their own")
    arguments.add_argument("--max_pixels", type=int, required=True, help="limit of protocols without their own")
    arguments.add_argument("--batch_size", type=whole_number(1), required=True, help="questions answered at once")
    arguments.add_argument("--threads", type=whole_number(1), default=1, help="torch threads")
    arguments.add_argument("--dtype", choices=["float32", "bfloat16"], required=True, help="number format")
    arguments.add_argument("--output", required=True, type=Path, metavar="FILE", help="predictions (JSONL) to write")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.data.coco import check_images, read_all
    from vision_r1.evaluation.protocols import read_protocols, requests

    protocols = read_protocols(args.protocol, args.min_pixels, args.max_pixels)
    datasets = read_all(args.dataset)
    images = [image for dataset in datasets for image in dataset.images]
    check_images({image.path: (image.width, image.height) for image in images})
    asked = [request for dataset in datasets for protocol in protocols for request in requests(protocol, dataset)]

    import torch
    import transformers

    from vision_r1.evaluation.generation import Generator
    from vision_r1.evaluation.predict import predict
    from vision_r1.families import family
    from vision_r1.stamps import code_stamp

    torch.set_num_threads(args.threads)
    settings = {
        "dtype": args.dtype,
        "gpu": torch.cuda.is_available(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "code": code_stamp(__file__),
    }
    predict(asked, Generator(args.checkpoint, family(args.family), args.dtype), args.batch_size, args.output, settings)


if __name__ == "__main__":
    run(main)
