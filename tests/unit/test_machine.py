"""What a machine lacks for a run is reported before it starts."""

import os

import pytest

from vision_r1.launcher import slurm
from vision_r1.machine import memory_mb, shortages

JOB = {"threads": 2, "mem_mb": 4000}


def program(folder, name, text):
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The only folder in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_machine_that_suffices():
    assert shortages({"train_sft": JOB}, 2, 4000) == []


def test_insufficient_memory_and_cores():
    memory, cores = shortages({"train_sft": JOB}, 1, 3999)
    assert memory.startswith("train_sft asks for 4,000 MB (compute.train_sft.mem_mb) and this machine has 3,999 MB")
    assert cores.startswith("train_sft asks for 2 threads (compute.train_sft.threads) and has 1 (--cores)")


def test_memory_of_this_machine():
    assert 100 < memory_mb() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000


def test_no_slurm_here(path):
    assert slurm.fault().startswith("there is no sbatch here; start this on the cluster's login node")


def test_a_slurm_that_does_not_answer(path):
    program(path, "sbatch", "exit 0")
    program(path, "sinfo", "echo 'first line' >&2; echo 'sinfo: fatal: no configuration' >&2; exit 1")
    assert slurm.fault() == (
        "SLURM does not answer (sinfo: fatal: no configuration); is this the cluster's login node?"
    )


def test_a_slurm_that_answers(path):
    program(path, "sbatch", "exit 0")
    program(path, "sinfo", "exit 0")
    assert slurm.fault() is None
