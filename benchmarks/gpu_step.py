"""A GRPO step at full size on one GPU: Qwen2.5-VL's shapes with random weights, images of 640 x 480 pixels.

Every case (size x training x generations) prints TRL's unmodified trainer and ours side by side: seconds of the fastest
step by part, completions and tokens per second, peak memory beside target `preflight`'s estimate, and model FLOP
utilisation (counted by flops_of_a_step in grpo_inputs.py). A case that runs out of memory is reported. Nothing is
downloaded. --options is JSON that overrides our GRPOConfig, to try out settings.

Examples:
    python benchmarks/gpu_step.py | tee benchmarks/results/gpu_step.txt
    python benchmarks/gpu_step.py --sizes 3b --training lora --options '{"optim": "adamw_8bit"}'
    python benchmarks/gpu_step.py --sizes miniature --device cpu --dtype float32 --prompts 2 --length 4   # does it run?
"""

import argparse
import json
import logging
import sys
import tempfile
from itertools import product

import torch
from grpo_arms import measure, table
from grpo_inputs import SIZES, estimated_memory, flops_of_a_step, make_checkpoint, make_rows

LORA_RANK = 16  # config/lora_80gb.yaml's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=["miniature", *SIZES], default=list(SIZES))
    parser.add_argument("--training", nargs="+", choices=["lora", "full"], default=["lora", "full"])
    parser.add_argument("--generations", nargs="+", type=int, default=[4, 8], help="completions per prompt")
    parser.add_argument("--prompts", type=int, default=16, help="prompts per step")
    parser.add_argument("--length", type=int, default=512, help="tokens per completion")
    parser.add_argument("--micro", type=int, default=8, help="completions in one forward and backward pass")
    parser.add_argument("--beta", type=float, default=0.0, help="weight of the KL term")
    parser.add_argument("--steps", type=int, default=3, help="steps; the first is not counted")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--arms", nargs="+", choices=["ours", "trl", "released"], default=["ours", "trl"])
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help="overrides of our GRPOConfig")
    args = parser.parse_args()
    vars(args).update(rounds=1, released_accumulation=1)
    for generations in args.generations:
        if args.prompts * generations % args.micro:
            parser.error(f"--micro {args.micro} does not divide {args.prompts} prompts x {generations} completions")
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: --device cuda: no GPU is visible; give --device cpu --sizes miniature for a trial run")
    logging.disable(logging.WARNING)
    card = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    trainings, group_sizes = args.training, args.generations
    for size in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            processor, model = make_checkpoint(folder, size, args.device, args.dtype)
            args.size, args.limits = size, processor.image_processor.size
            rows = make_rows(folder, size, args.prompts, args.limits)
            for training, args.generations in product(trainings, group_sizes):
                args.lora_r = LORA_RANK if training == "lora" else None
                found = measure(folder, rows, args)
                sys.stdout.write(f"{size}, {training}, {card}, {args.dtype}, torch {torch.__version__}: ")
                sys.stdout.write(f"{args.prompts} prompts x {args.generations} completions x {args.length} tokens\n")
                sys.stdout.write(table(found, flops_of_a_step(model, rows, args), args))
                sys.stdout.write(
                    f"preflight's estimate of GPU memory, MB {estimated_memory(model, rows, args):9.0f}\n\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
