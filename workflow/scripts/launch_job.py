"""Start a training or a prediction the way its machine needs it.

- One at a time: --lock is held while the command works. A second copy waits; its log names the job that it waits for.
- On GPUs of its own: on a plain machine it gets --gpus GPUs that no other job of this user holds.
- On all its nodes: in a job that a SLURM executor sent, srun starts the command on each of --nodes nodes, and
  `accelerate launch` or `torchrun` learns from SLURM's variables where its processes meet.

Example:
  python workflow/scripts/launch_job.py --lock sft.lock --gpus 2 -- \\
      accelerate launch --multi_gpu --num_processes 2 workflow/scripts/train_sft.py ...
"""

import argparse
import os
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vision_r1 import cli
from vision_r1.files import UserError
from vision_r1.launcher import slurm
from vision_r1.launcher.devices import take_devices
from vision_r1.launcher.lock import take


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    arguments.add_argument("--lock", type=Path, help="file that is locked while the command works")
    arguments.add_argument("--gpus", type=cli.whole_number(0), default=0, help="GPUs, over all nodes (default: 0)")
    arguments.add_argument("--nodes", type=cli.whole_number(1), default=1, help="machines (default: 1)")
    arguments.add_argument("--on_node", action="store_true", help="used by this program itself, on each node of a job")
    arguments.add_argument("words", nargs="+", help="the command, after --")
    return arguments.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.on_node:
        sys.exit(slurm.run_on_node(slurm.with_rendezvous(args.words) if args.nodes > 1 else args.words))
    process = f"process {os.getpid()} on {socket.gethostname()}"
    lock = take(args.lock, slurm.job_name() or process, process) if args.lock else None
    # Set by the rules where a job has an allocation of its own; a shell inside an allocation is a plain machine.
    if os.environ.get("VISION_R1_SENT_BY_EXECUTOR") and slurm.job_name():
        again = [*slurm.this_program(), "--on_node", "--nodes", str(args.nodes), "--", *args.words]
        sys.exit(slurm.run_step(slurm.srun(again, args.nodes, args.gpus), lock))
    if args.nodes > 1:
        raise UserError(f"--nodes {args.nodes}: several nodes need SLURM (--profile profiles/slurm)")
    place = slurm.job_name() or "all"
    folder = Path(tempfile.gettempdir()) / f"vision_r1_gpus_{os.getuid()}" / place.replace(" ", "_")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(take_devices(args.gpus, folder))
    # torchrun would kill its trainers 30 seconds after a SIGTERM, in the middle of a step or of a checkpoint.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "3600")
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # nobody is there to answer a question
    os.execvp(args.words[0], args.words)


if __name__ == "__main__":
    cli.run(main)
