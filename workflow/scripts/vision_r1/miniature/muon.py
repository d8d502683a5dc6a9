"""Muon, in float32 on the CPU: torch's own computes in bfloat16, for which most CPUs have no fast matrix product."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024, kellerjordan.github.io/posts/muon
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose every step is orthogonalised; for matrices only.

    The update is that of `torch.optim.Muon` with Nesterov momentum and `adjust_lr_fn="original"`, up to the rounding of
    bfloat16, in which torch computes it. `blocks`, also a key of parameter groups: into how many blocks of columns a
    matrix is cut; each is orthogonalised alone, which costs 1 / blocks or less.
    """

    def __init__(
        self,
        matrices: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        blocks: int = 1,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "blocks": blocks}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        taken = [(matrix, group) for group in self.param_groups for matrix in group["params"]]
        blocks = []
        for matrix, group in taken:
            state = self.state[matrix]
            momentum = state["momentum"] = state["momentum"] if state else torch.zeros_like(matrix)
            momentum.lerp_(matrix.grad, 1 - group["momentum"])
            blocks.append(matrix.grad.lerp(momentum, group["momentum"]).chunk(group["blocks"], dim=1))
        flat = iter(orthogonalized_together([block for parts in blocks for block in parts]))
        for (matrix, group), parts in zip(taken, blocks, strict=True):
            update = torch.cat([next(flat) for _ in parts], dim=1)
            rows, columns = matrix.shape
            matrix.mul_(1 - group["lr"] * group["weight_decay"])
            matrix.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalized_together(matrices: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return each matrix orthogonalized; on a GPU, in bfloat16 and all of one shape at once, to launch less."""
    if not matrices[0].is_cuda:
        return [orthogonalized(matrix) for matrix in matrices]
    return by_shape(matrices, lambda stack: orthogonalized(stack.bfloat16()))


def by_shape(matrices: Sequence[torch.Tensor], work: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
    """Return work's results, one per matrix, from one call per shape with (n, rows, columns)."""
    shapes = [matrix.shape for matrix in matrices]
    stacks = {
        shape: iter(work(torch.stack([matrix for matrix in matrices if matrix.shape == shape])))
        for shape in dict.fromkeys(shapes)
    }
    return [next(stacks[shape]) for shape in shapes]


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix, or each of (n, rows, columns), with the same singular vectors and singular values near 1.

    Five steps of a Newton-Schulz iteration in the matrix's own number format leave them between 0.5 and 1.5.
    """
    wide = matrix.shape[-2] <= matrix.shape[-1]
    result = matrix if wide else matrix.mT
    result = result / result.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    multiply_add = torch.addmm if matrix.ndim == 2 else torch.baddbmm
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = result @ result.mT
        result = multiply_add(result, multiply_add(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result if wide else result.mT
