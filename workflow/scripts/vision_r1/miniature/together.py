"""Several processes of one machine that train one model: shared weights, shared gradients, one thread each.

Threads wait for each other many times per step, so two of them crawl as soon as another program is busy. Processes
wait for each other twice per step.
"""

from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import TypeVar

import torch
from torch import distributed

Result = TypeVar("Result")

PATIENCE = 10.0  # seconds: a process that has failed, which is why the first one fails, still prints its reason


def together(work: Callable[[int], Result], processes: int) -> Result:
    """Run work(rank) in this process, rank 0, and in forked ones; return what rank 0 returns.

    None outlives this call. If one dies, the others end: gloo notices the closed connection, and forked processes end
    with this one.
    """
    if processes == 1:
        return work(0)
    with TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"

        def meet(rank: int) -> Result:
            distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
            try:
                return work(rank)
            finally:
                distributed.destroy_process_group()

        # Forked: the weights stay where they are, and torch is not imported again.
        context = torch.multiprocessing.get_context("fork")
        others = []
        try:
            for rank in range(1, processes):
                process = context.Process(target=meet, args=(rank,), daemon=True)
                process.start()
                others.append(process)
            return meet(0)
        except BaseException:
            for process in others:
                process.join(PATIENCE)
                process.kill()
            raise
        finally:
            # A process that still ends would write its meeting file again while the folder is being removed.
            for process in others:
                process.join()


class SharedGradients:
    """The gradients of all processes. Made, with the model's weights shared, before they are forked.

    Each step: `collect`, a backward pass, `average`, an update of weights that no other process updates, `wait`.
    """

    def __init__(self, model: torch.nn.Module, processes: int) -> None:
        self.processes = processes
        self.parameters = list(model.parameters())
        size = sum(weight.numel() for weight in self.parameters)
        self.gradients = torch.zeros(processes, size, device=self.parameters[0].device)
        self.losses = torch.zeros(processes, 2, device=self.gradients.device)
        if processes > 1:
            model.share_memory()
            self.gradients.share_memory_()
            self.losses.share_memory_()

    def collect(self, rank: int) -> None:
        """Let the next backward pass write this process's gradients."""
        self._assign(self.gradients[rank].zero_())

    def average(self, rank: int, loss: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Give every weight the gradient of the mean loss over all tokens of all processes; return that loss.

        loss: the sum over this process's `tokens`, whose gradients were collected.
        """
        self.losses[rank] = torch.stack([loss.detach(), tokens])
        self.wait()
        total, count = self.losses.sum(0)
        self._assign(self.gradients.sum(0) / count)
        return total / count

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.processes > 1:
            distributed.barrier()

    def _assign(self, gradients: torch.Tensor) -> None:
        parts = gradients.split([weight.numel() for weight in self.parameters])
        for weight, part in zip(self.parameters, parts, strict=True):
            weight.grad = part.view_as(weight)
