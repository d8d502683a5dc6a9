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


def test_a_failure_of_the_first_process_ends_the_others_at_once():
    def work(rank):
        if rank == 0:
            raise KeyboardInterrupt
        time.sleep(600)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        together(work, 2)
    assert time.monotonic() - began < 300
    assert not multiprocessing.active_children()
