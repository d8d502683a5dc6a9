#!/usr/bin/env bash
# `accelerate launch` on one of several nodes of a SLURM job: SLURM knows this node's rank and the first node's name.
set -euo pipefail
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
exec accelerate launch --num_machines "$SLURM_NNODES" --machine_rank "$SLURM_NODEID" \
    --main_process_ip "$first" --main_process_port 29500 "$@"
