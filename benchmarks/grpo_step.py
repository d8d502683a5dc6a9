"""Where the time of the miniature's GRPO step goes: ours, TRL's trainer left as it is, and the released code's way.

All weights are random and every completion has --length tokens. Figures are each arm's fastest step. Arms: see
grpo_arms.py; at full size, on a GPU: gpu_step.py.

Example: python benchmarks/grpo_step.py --steps 5 --rounds 4
"""

import argparse
import logging
import sys
import tempfile

import torch
from grpo_arms import measure, table
from grpo_inputs import flops_of_a_step, make_checkpoint, make_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--prompts", type=int, default=24, help="prompts a step")
    parser.add_argument("--generations", type=int, default=8, help="completions a prompt")
    parser.add_argument(
        "--released_accumulation",
        type=int,
        default=2,
        help="prompts an optimiser step of released",
    )
    parser.add_argument("--length", type=int, default=10, help="tokens of a completion; the miniature writes 9")
    parser.add_argument("--beta", type=float, default=0.0, help="KL term of ours and TRL; released: always 0.04")
    parser.add_argument("--steps", type=int, default=4, help="steps in a row")
    parser.add_argument("--rounds", type=int, default=3, help="turns that the arms take")
    parser.add_argument("--arms", nargs="+", choices=["ours", "trl", "released"], default=["ours", "trl", "released"])
    args = parser.parse_args()
    vars(args).update(size="miniature", device="cpu", dtype="float32", micro=None, lora_r=None, options={})
    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        processor, model = make_checkpoint(folder, args.size, args.device, args.dtype)
        args.limits = processor.image_processor.size
        rows = make_rows(folder, args.size, args.prompts, args.limits)
        found = measure(folder, rows, args)
    sys.stdout.write(f"miniature, cpu, float32, {args.threads} threads: {args.prompts} prompts x ")
    sys.stdout.write(f"{args.generations} completions x {args.length} tokens a step\n")
    sys.stdout.write(table(found, flops_of_a_step(model, rows, args), args))


if __name__ == "__main__":
    main()
