"""The faster vision encoder returns the same as transformers' own, for each family."""

import pytest
import torch
from tiny_models import make_checkpoint
from transformers import AttentionInterface, AutoModelForImageTextToText

from vision_r1 import vision_encoder
from vision_r1.families import FAMILIES
from vision_r1.models import load_model

GRIDS = {  # patches
    "windows of several sizes": torch.tensor([[1, 10, 20], [1, 6, 4], [1, 8, 8]]),
    "windows of one size": torch.tensor([[1, 8, 8]] * 3),
}


@pytest.fixture(scope="module", params=FAMILIES)
def encoders(request, tmp_path_factory):
    """Return transformers' encoder and ours, with the same weights."""
    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint(folder, request.param)
    own = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return own.model.visual, load_model(folder, "float32").model.visual


def encoded(encoder, grids, device="cpu", dtype=torch.float32):
    """Return the features, and the gradient with respect to the patches."""
    width = encoder.patch_embed.proj.weight[0].numel()
    patches = torch.randn(int(grids.prod(1).sum()), width, generator=torch.Generator().manual_seed(0))
    patches = patches.to(device, dtype).requires_grad_()
    output = encoder.to(device, dtype)(patches, grids.to(device)).pooler_output
    output.float().square().sum().backward()
    return output.float().cpu(), patches.grad.float().cpu()


@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_values_and_gradients_are_the_same(encoders, grids, monkeypatch):
    expected = encoded(encoders[0], grids)
    called = []
    usual = vision_encoder.windowed_attention
    monkeypatch.setitem(
        AttentionInterface._global_mapping,
        vision_encoder.ATTENTION,
        lambda *args, **options: (called.append(1), usual(*args, **options))[1],
    )
    for one, other in zip(expected, encoded(encoders[1], grids), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert len(called) == len(encoders[1].blocks)  # once per layer, not once per window


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_one_kernel_on_a_gpu(encoders, grids):
    exact = encoded(encoders[0], grids)
    for encoder in encoders:
        for one, other in zip(exact, encoded(encoder, grids, "cuda", torch.bfloat16), strict=True):
            assert (one - other).norm() < 0.03 * one.norm()
