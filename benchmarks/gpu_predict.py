"""Images per second of prediction at full size on one GPU: the released loop with batch size 1, and ours.

Uses Qwen2.5-VL's shapes with random weights, and synthetic scenes of 640 x 480 pixels, with one question per image.
With random weights no answer ends by itself, so each takes --max_new_tokens either way, and a few images are enough to
show the speed of the slow loop. Nothing is downloaded.

Examples:
    python benchmarks/gpu_predict.py | tee benchmarks/results/gpu_predict.txt
    python benchmarks/gpu_predict.py --sizes miniature --device cpu --dtype float32 --images 4 --batch_sizes 4 \\
        --max_new_tokens 4   # does it run?
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from grpo_inputs import PHOTOGRAPH, SIZES, make_checkpoint
from predict import compared

from vision_r1.data.coco import read_coco
from vision_r1.data.scenes import write_scenes
from vision_r1.evaluation.generation import Generator
from vision_r1.evaluation.predict import question_of
from vision_r1.evaluation.protocols import Protocol, requests
from vision_r1.families import family


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=["miniature", *SIZES], default=list(SIZES))
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[32, 64, 128], help="batch sizes of our loop")
    parser.add_argument("--one_at_a_time", type=int, default=8, help="images that are answered with batch size 1")
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each loop")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device cuda: no GPU is visible; give --device cpu --sizes miniature for a trial run")
    card = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            processor, _ = make_checkpoint(folder / "model", size, args.device, args.dtype)
            write_scenes(PHOTOGRAPH, args.images, 0, folder / "annotations.json", folder / "images")
            limits = processor.image_processor.size
            protocol = Protocol("p", "all-in-one", args.max_new_tokens, limits["shortest_edge"], limits["longest_edge"])
            dataset = read_coco("set", str(folder / "annotations.json"), str(folder / "images"))
            generator = Generator(str(folder / "model"), family("qwen2_5_vl"), args.dtype, args.device)
            questions = [question_of(request, generator.family) for request in requests(protocol, dataset)]
            sys.stdout.write(f"{size}, {card}, {args.dtype}, torch {torch.__version__}: {args.images} images of ")
            sys.stdout.write(f"640 x 480 pixels, {args.max_new_tokens} tokens per answer\n")
            sys.stdout.write(
                compared(generator, questions, args.batch_sizes, args.device, args.rounds, args.one_at_a_time)
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
