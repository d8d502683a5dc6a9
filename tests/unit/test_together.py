import multiprocessing
import time

import pytest
from torch import distributed

from vision_r1.miniature.together import together


def test_no_process_outlives_the_work():
    """A process that ends later would write its meeting file again while the folder is being removed."""

    def work(rank):
        distributed.barrier()  # both are connected
        time.sleep(rank)
        return rank

    assert together(work, 2) == 0
    assert not multiprocessing.active_children()


def test_the_reason_of_another_process_is_printed(capfd):
    def work(rank):
        distributed.barrier()
        if rank == 1:
            raise ValueError("this is why")
        distributed.barrier()

    with pytest.raises(RuntimeError):
        together(work, 2)
    assert "ValueError: this is why" in capfd.readouterr().err


def test_a_failure_of_the_first_process_ends_the_others(monkeypatch):
    monkeypatch.setattr("vision_r1.miniature.together.PATIENCE", 0.1)

    def work(rank):
        if rank == 0:
            raise KeyboardInterrupt
        time.sleep(600)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        together(work, 2)
    assert time.monotonic() - began < 300
    assert not multiprocessing.active_children()
