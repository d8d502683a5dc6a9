import pytest
import torch

from vision_r1.miniature.muon import Muon, by_shape, orthogonalized


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (16, 16)])
def test_steps_equal_torchs_muon_up_to_bfloat16_rounding(shape):
    settings = {"lr": 0.1, "weight_decay": 0.05, "momentum": 0.95}
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = Muon([ours], **settings), torch.optim.Muon([theirs], adjust_lr_fn="original", **settings)
    for _ in range(4):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert (ours - start).norm() > 0.5
    assert (ours - theirs).norm() < 0.02 * (ours - start).norm()


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_orthogonalized_keeps_singular_vectors_and_equalises_singular_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = left.T @ orthogonalized(matrix) @ right.T
    assert (values - torch.diag(values.diagonal())).abs().max() < 1e-4
    assert 0.6 < values.diagonal().min() and values.diagonal().max() < 1.3


def test_matrices_of_a_shape_are_orthogonalized_together_as_a_gpu_does_it():
    generator = torch.Generator().manual_seed(2)
    matrices = [torch.randn(shape, generator=generator) for shape in ((24, 40), (16, 16), (24, 40), (40, 24))]
    calls = []
    together = by_shape(matrices, lambda stack: calls.append(stack.shape) or orthogonalized(stack))
    assert calls == [(2, 24, 40), (1, 16, 16), (1, 40, 24)]
    for one, other in zip(together, map(orthogonalized, matrices), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
