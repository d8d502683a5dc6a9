"""Muon in float32; torch's own computes in bfloat16, for which most CPUs have no fast matrix product."""

from collections.abc import Iterable
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
        for group in self.param_groups:
            for matrix in group["params"]:
                momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                momentum.lerp_(matrix.grad, 1 - group["momentum"])
                parts = matrix.grad.lerp(momentum, group["momentum"]).chunk(group["blocks"], dim=1)
                update = torch.cat([orthogonalized(part) for part in parts], dim=1)
                rows, columns = matrix.shape
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix with the same singular vectors and singular values near 1 (0.5 to 1.5).

    Five steps of a Newton-Schulz iteration, in the matrix's own number format.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    result = matrix if wide else matrix.T
    result = result / result.norm().clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = result @ result.T
        result = torch.addmm(result, torch.addmm(gram, gram, gram, beta=b, alpha=c), result, beta=a)
    return result if wide else result.T
