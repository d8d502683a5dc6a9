"""GPU memory of one training, part by part, before it runs. An estimate: the real peak is known after the first steps.

Bytes by mode, for T trained weights, F frozen weights, P GPUs, and d bytes per number of model.dtype:

    mode     weights             gradients   optimiser (AdamW)   reference        for the update
    single   d (T + F)           d T         2 d T               d (T + F)
    ddp      d (T + F)           2 d T       2 d T               d (T + F)
    zero2    2 (T + F)           2 T / P     12 T / P            2 (T + F)        6 T / P
    zero3    2 (T + F) / P       2 T / P     12 T / P            2 (T + F) / P    6 T / P, at most 6e9
    fsdp     (4 T + d F) / P                 8 T / P             d (T + F) / P    4 T / P + 6 E

DDP keeps its communication buckets in addition to the gradients (gradient_as_bucket_view is off). DeepSpeed in bfloat16
keeps a float32 master copy and two float32 moments (ZeRO paper, section 3.1: 16 bytes a weight before any splitting).
For the update it flattens its part of the gradients and widens the result, ZeRO-3 for 1e9 weights at a time
(sub_group_size). Its buffers: a bucket of 5e8 numbers, in the backward pass also a copy of it, and where ZeRO-3 splits
weights, up to 1e9 live ones. With accumulation, ZeRO-2 has a new part of the gradients beside the sum. accelerate
widens the weights that FSDP trains to float32. FSDP splits and widens gradients as the backward pass frees activations;
at its end, the E weights of the embeddings are there whole: they, their gradient and what is sent. With accumulation,
it keeps the whole gradient in bfloat16 until then (transformers doesn't reduce it before the last micro-step), and TRL
splits the reference as one piece, so that its forward pass gathers all of it, beside the buffer that it is gathered in
(counted as if while sampling). LoRA's adapters are float32 (PEFT), and its reference is the model with the adapters
off.

Activations, without the softmax's square (SDPA and FlashAttention don't keep it), counted after Korthikanti et al.
2022, section 4.1, for these families' layers in bfloat16 (h, q, k, i: widths of layer, queries, keys and MLP). A
token of the language model keeps 16 h (norms and their float32 copies, residual sums), 10 q + 10 k (projections,
rotation, the norms of Qwen3; Qwen2.5 keeps 4 + 4) and 8 i (gate, up, activation, product) bytes a layer; a patch of
the vision encoder, whose rotation is in float32, 30 h + 8 i. A test counts what autograd really keeps: with float32
weights and autocast up to a sixth more, and a copy in bfloat16 of each weight. Each layer keeps SDPA's mask, 2 bytes
for each pair of tokens in a row; a single row has no padding, and no mask. With gradient checkpointing, 2 h for each
layer's input, one layer whole, and the mask that all layers are given, 1 byte a pair. TRL computes log-probabilities in
tiles, so no logits are kept, but the gradient of the output head is summed in float32 beside its copy in the weights'
format.
"""

from dataclasses import dataclass

from vision_r1.launcher.modes import SPLIT_WEIGHTS
from vision_r1.preflight.architecture import Architecture
from vision_r1.preflight.batches import Batches

GIB = 2**30
# CUDA context, cuBLAS and NCCL workspaces, fragmentation: an assumption, not derived.
OVERHEAD = 2 * GIB
# DeepSpeed's defaults, in numbers: reduce_bucket_size, stage3_max_live_parameters, sub_group_size.
BUCKET = 500_000_000
LIVE_WEIGHTS = 1_000_000_000
SUB_GROUP = 1_000_000_000
BYTES = {"float32": 4, "bfloat16": 2}  # of a number


@dataclass(frozen=True)
class Vllm:
    """vLLM as it samples for a training.

    bytes: what it takes of each GPU that trains; 0 where it is a server on other GPUs. sleeps: it frees them during
    training. together: GPUs that share one copy of its weights.
    """

    bytes: int = 0
    sleeps: bool = False
    together: int = 1


@dataclass(frozen=True)
class Setting:
    """What memory depends on, besides architecture and batches. Tokens are those of the longest sample.

    autocast: 16 bits in most operations, whatever `dtype`, that of the weights, is.
    """

    mode: str
    dtype: str
    gradient_checkpointing: bool
    image_tokens: int
    text_tokens: int
    answer_tokens: int
    reference: bool = False
    lora_rank: int = 0
    vllm: Vllm | None = None
    autocast: bool = False

    @property
    def prompt_tokens(self) -> int:
        return self.image_tokens + self.text_tokens


def estimate(model: Architecture, batches: Batches, setting: Setting) -> dict[str, int]:
    """Return bytes on each GPU by part: first what always stays, then what sampling and the backward pass need."""
    trained = model.lora_parameters(setting.lora_rank) if setting.lora_rank else model.parameters
    frozen = model.parameters if setting.lora_rank else 0
    parts = _states(setting, trained, frozen, batches.processes)
    if setting.mode == "fsdp" and not setting.lora_rank:
        parts[UPDATE] += 6 * model.head_parameters
    if batches.accumulation > 1 and setting.mode in ("zero2", "fsdp"):
        parts[ACCUMULATED] = BYTES["bfloat16"] * trained // (batches.processes if setting.mode == "zero2" else 1)
    if setting.reference and not setting.lora_rank:
        whole = BYTES[setting.dtype] * model.parameters
        parts["reference"] = whole // batches.processes if setting.mode in SPLIT_WEIGHTS else whole
        if setting.mode == "fsdp":
            parts[REFERENCE] = 2 * whole
    bucket = BYTES["bfloat16"] * BUCKET
    if setting.mode == "zero2":
        parts[BUCKETS] = 2 * bucket
    if setting.mode == "zero3":
        parts |= {"gradient bucket": bucket, BUCKETS: bucket}
        if batches.processes > 1:
            parts[LIVE] = BYTES["bfloat16"] * min(model.parameters, LIVE_WEIGHTS)
    if setting.autocast and setting.dtype == "float32" and setting.mode in ("single", "ddp"):
        parts["copies of weights in bfloat16"] = BYTES["bfloat16"] * (trained + frozen)
    parts["CUDA context, workspaces, fragmentation"] = OVERHEAD
    if batches.group is not None and setting.vllm:
        parts |= {ASLEEP if setting.vllm.sleeps else "vLLM": setting.vllm.bytes} if setting.vllm.bytes else {}
    elif batches.group is not None:
        parts |= generation(model, batches, setting)
    parts["activations"] = activations(model, batches, setting) + head_gradient(model, setting)
    return parts


ASLEEP = "vLLM, asleep while training"
REFERENCE = "reference gathered to score"
ACCUMULATED = "gradients accumulated"
BUCKETS = "gradient buckets in the backward pass"
LIVE = "weights gathered to train"
UPDATE = "float32 gradients for the update"
# Parts that are there at one of three moments only; all others stay.
MOMENTS = (
    ("weights gathered to sample", "KV cache", "sampling buffers", REFERENCE, ASLEEP),
    ("activations", ACCUMULATED, BUCKETS, LIVE),
    (UPDATE,),
)


def peak(parts: dict[str, int]) -> int:
    """Return the most bytes needed at once: sampling, the backward pass and the update take turns."""
    turns = [sum(parts.get(name, 0) for name in moment) for moment in MOMENTS]
    return sum(parts.values()) - sum(turns) + max(turns)


def kv_cache(model: Architecture, sequences: int, tokens: int) -> int:
    """Return bytes of keys and values in bfloat16: two per layer, `keys` wide, for each token of each sequence."""
    return 2 * 2 * model.layers * model.keys * sequences * tokens


def generation(model: Architecture, batches: Batches, setting: Setting) -> dict[str, int]:
    """Return bytes that sampling needs on one GPU with transformers' generate."""
    sequences = batches.sampled_at_once
    layer = 2 * (4 * model.hidden + 3 * model.intermediate) * setting.prompt_tokens
    vision = 2 * (4 * model.vision_hidden + 3 * model.vision_intermediate) * model.merge * setting.image_tokens
    parts = {
        "KV cache": kv_cache(model, sequences, setting.prompt_tokens + setting.answer_tokens),
        # One layer's intermediate results while the prompts are read, and float32 scores of the next token.
        "sampling buffers": batches.prompts_at_once * max(layer, vision) + sequences * 4 * model.vocabulary,
    }
    if setting.mode == "zero3" and batches.processes > 1:
        parts["weights gathered to sample"] = 2 * model.parameters  # TRL's ds3_gather_for_generation
    return parts


def activations(model: Architecture, batches: Batches, setting: Setting) -> int:
    """Return bytes kept for the backward pass of one micro-step, see the module's text."""
    width = 1 if setting.autocast else BYTES[setting.dtype] / 2
    rows, length = batches.rows_of_a_pass(setting.prompt_tokens, setting.answer_tokens)
    tokens, mask = rows * length, rows * length**2 if batches.per_device > 1 else 0
    patches = batches.images * model.merge * setting.image_tokens
    text = (16 * model.hidden + 10 * model.queries + 10 * model.keys + 8 * model.intermediate) * tokens
    text += 2 * mask
    vision = (30 * model.vision_hidden + 8 * model.vision_intermediate) * patches
    if setting.gradient_checkpointing:
        kept = 2 * model.layers * model.hidden * tokens + 2 * model.vision_layers * model.vision_hidden * patches
        return round(width * (kept + max(text, vision)) + mask)
    return round(width * (model.layers * text + model.vision_layers * vision))


def head_gradient(model: Architecture, setting: Setting) -> int:
    """Return bytes of the output head's gradient while TRL sums it up; a frozen head has none."""
    return 0 if setting.lora_rank else (4 + BYTES[setting.dtype]) * model.head_parameters


def checkpoint_bytes(model: Architecture, setting: Setting) -> int:
    """Return bytes of one trainer checkpoint on disk: what resuming needs, and the weights."""
    if setting.lora_rank:
        return 12 * model.lora_parameters(setting.lora_rank)
    if setting.mode in ("zero2", "zero3"):
        return (2 + 2 + 12) * model.parameters
    return (4 + 8 if setting.mode == "fsdp" else 3 * BYTES[setting.dtype]) * model.parameters


def _states(setting: Setting, trained: int, frozen: int, processes: int) -> dict[str, int]:
    size = BYTES[setting.dtype]
    own = 4 if setting.lora_rank else size  # bytes per trained weight, where nothing is split
    part = trained / processes
    parts: dict[str, float]
    if setting.mode == "zero2":
        parts = {"weights": 2 * (trained + frozen), "gradients": 2 * part, "optimiser": 12 * part, UPDATE: 6 * part}
    elif setting.mode == "zero3":
        weights, widened = 2 * (trained + frozen) / processes, 6 * min(part, SUB_GROUP)
        parts = {"weights": weights, "gradients": 2 * part, "optimiser": 12 * part, UPDATE: widened}
    elif setting.mode == "fsdp":
        parts = {"weights": 4 * part + size * frozen / processes, "optimiser": 8 * part, UPDATE: 4 * part}
    else:
        gradients = own * trained * (2 if setting.mode == "ddp" else 1)
        parts = {"weights": own * trained + size * frozen, "gradients": gradients, "optimiser": 2 * own * trained}
    return {name: round(size) for name, size in parts.items()}
