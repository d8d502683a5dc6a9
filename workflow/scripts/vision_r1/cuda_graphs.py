"""Decoding on a GPU by CUDA graphs. A step of one token per row launches thousands of small kernels from Python, which
takes several times as long as running them. Recorded once, they are launched together.

The first pass of a generation runs as usual. Then keys and values move into memory that has room for BLOCK more tokens
and keeps its address; one step is recorded, and the following steps replay it until the room is used up. Values are
those of ordinary decoding, up to the order of floating-point sums.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPast

BLOCK = 128  # tokens; attention kernels want a multiple of 8
INPUTS = {"inputs_embeds", "position_ids"}

Step = Callable[[], torch.Tensor]


def replay_decoding(model: PreTrainedModel) -> None:
    """Make a vision-language model record and replay its decoding steps, on the devices of RECORDERS."""
    language_model = model.model.language_model
    read = language_model.forward

    def forward(**options: Any) -> Any:
        if not _is_a_step(language_model, options):
            return read(**options)
        cache = options["past_key_values"]
        if type(cache.layers[0]) is DynamicLayer:
            steps = Steps(cache.get_seq_length())
            cache.layers[:] = [RoomyLayer(layer, steps) for layer in cache.layers]
        states = cache.layers[0].steps.take(read, options)
        return BaseModelOutputWithPast(last_hidden_state=states, past_key_values=cache)

    language_model.forward = forward


def _is_a_step(language_model: torch.nn.Module, options: dict[str, Any]) -> bool:
    """Tell whether this is a decoding step of one token per row that can be recorded.

    Weights that are split over processes (ZeRO-3, FSDP) are gathered anew in each step, which can't be recorded. Nor
    can what runs on another GPU than the current one: its recording would be empty, so that tokens would be repeated.
    """
    cache, embeddings = options.get("past_key_values"), options.get("inputs_embeds")
    if torch.is_grad_enabled() or type(cache) is not DynamicCache or embeddings is None or embeddings.shape[1] != 1:
        return False
    weight = next(language_model.layers.parameters())  # FSDP holds the embeddings together during the forward pass
    return (
        embeddings.device.type in RECORDERS
        and (embeddings.device.type != "cuda" or embeddings.device.index == torch.cuda.current_device())
        and not isinstance(weight, DTensor)
        and not hasattr(weight, "ds_id")
        and {name for name, value in options.items() if isinstance(value, torch.Tensor)} - {"attention_mask"} == INPUTS
        and (options["attention_mask"] is None or options["attention_mask"].ndim == 2)
        and cache.get_seq_length() > 0
        and not cache.offloading
        and all(type(layer) in (DynamicLayer, RoomyLayer) for layer in cache.layers)
    )


class Steps:
    """The decoding steps of one generation: `length` tokens per row so far, and memory for `capacity`."""

    def __init__(self, length: int) -> None:
        self.length = self.capacity = length
        self.replay: Step | None = None

    def take(self, read: Callable[..., Any], options: dict[str, Any]) -> torch.Tensor:
        """Return the last hidden states, (rows, 1, width), of the next token; the step after it overwrites them."""
        mask = options["attention_mask"]
        if mask is None:  # no padding
            mask = options["inputs_embeds"].new_ones(len(options["inputs_embeds"]), self.length + 1)
        mask = mask.bool()[:, None, None]
        full = self.length == self.capacity
        if full:
            self.replay = None  # frees its memory before more is allocated
            self.capacity += BLOCK
            for layer in options["past_key_values"].layers:
                layer.grow()
            self.inputs = {name: options[name].clone() for name in INPUTS}
            self.inputs["attention_mask"] = pad(mask, (0, self.capacity - mask.shape[-1]))
            self.place = torch.tensor([self.length], device=mask.device)
        self.inputs["inputs_embeds"].copy_(options["inputs_embeds"])
        self.inputs["position_ids"].copy_(options["position_ids"])
        self.inputs["attention_mask"][..., self.length] = mask[..., -1]
        self.place.fill_(self.length)
        if full:
            values = options | self.inputs
            self.replay = RECORDERS[mask.device.type](lambda: read(**values).last_hidden_state)
        states = self.replay()
        self.length += 1
        return states


class RoomyLayer(DynamicLayer):
    """A layer's keys and values, (rows, heads, capacity, width), which a step writes where `steps.place` says."""

    def __init__(self, layer: DynamicLayer, steps: Steps) -> None:
        super().__init__()
        self.steps, self.keys, self.values = steps, layer.keys, layer.values
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True

    def grow(self) -> None:
        """Allocate memory for steps.capacity tokens. The part not yet filled is masked, but must be finite: zeros."""
        self.keys = pad(self.keys, (0, 0, 0, self.steps.capacity - self.keys.shape[-2]))
        self.values = pad(self.values, (0, 0, 0, self.steps.capacity - self.values.shape[-2]))

    def update(self, keys: torch.Tensor, values: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # Under autocast, new keys and values may have another dtype than the stored ones.
        self.keys.index_copy_(-2, self.steps.place, keys.to(self.keys.dtype))
        self.values.index_copy_(-2, self.steps.place, values.to(self.values.dtype))
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.steps.length


@functools.cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """Return the GPU's one stream for first runs: cuBLAS keeps a workspace for each stream that it ever saw."""
    return torch.cuda.Stream(device)


def _cuda_graph(step: Step) -> Step:
    """Record a step, with autocast's cache off: a recording computes nothing, so the cache would keep garbage."""
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        aside = _side_stream(torch.cuda.current_device())
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries initialise in a first run, which can't be recorded
            step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            states = step()
    finally:
        torch.set_autocast_cache_enabled(cached)

    def replay() -> torch.Tensor:
        graph.replay()
        return states

    return replay


RECORDERS: dict[str, Callable[[Step], Step]] = {"cuda": _cuda_graph}
