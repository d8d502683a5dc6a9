"""What the copies of a prompt can share: TRL gives each of a group's completions a copy of its image.

An image is read once, processed once and encoded once, and a prompt is read once by the language model when its
completions are scored, however many copies of them stand in a batch. Values and gradients are those of the copies,
up to the order of floating-point sums; a run repeats bit for bit.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import BatchFeature, DynamicCache, PreTrainedModel, ProcessorMixin
from transformers.image_utils import make_flat_list_of_images

from vision_r1.data.images import load_image
from vision_r1.training.packing import Packing, groups_of

if TYPE_CHECKING:
    from datasets import Dataset


def share_reading(dataset: "Dataset", kept: int) -> "Dataset":
    """Return the dataset with its column `image`, paths, read on access: upright, RGB; copies are one object.

    kept: how many of the last images stay in memory.
    """

    read = lru_cache(maxsize=kept)(load_image)
    return dataset.with_transform(lambda rows: {**rows, "image": [read(path) for path in rows["image"]]})


class Pixels(dict[int, torch.Tensor]):
    """Pixels, (patches, width), of the distinct images of the generation under way, by the number that each was given.

    TRL copies the pixels of every completion five times on their way to the model. So a batch holds in their place,
    for each patch, the number of its image, (patches, 1), and the model looks the pixels up.
    """

    given = 0  # numbers so far: an image of an earlier generation is missing, and never taken for another one

    def replace(self, images: Sequence[torch.Tensor]) -> np.ndarray:
        """Hold these images alone; return their numbers."""
        self.clear()
        numbers = self.given + np.arange(len(images))
        self.update(zip(numbers.tolist(), images, strict=True))
        self.given += len(images)
        return numbers


def share_processing(processor: ProcessorMixin) -> Pixels:
    """Make the processor work once on equal pairs of prompt and image in a call, and on the images of the call before.

    Its `pixel_values` are numbers of images from then on, for a model under share_forward with what is returned here.
    """
    pixels = Pixels()
    _share_calls(processor)
    _number_images(processor, pixels)
    return pixels


def _share_calls(processor: ProcessorMixin) -> None:
    kind = type(processor)
    last = {"asked": "", "text": ""}  # copies stand side by side

    class Shared(kind):
        def __call__(self, images: Any = None, text: Any = None, **options: Any) -> BatchFeature:
            images = [] if images is None else make_flat_list_of_images(images)
            if not isinstance(text, list) or len(text) != len(images):
                return super().__call__(images=images or None, text=text, **options)
            first, index = _distinct([(one, id(image)) for one, image in zip(text, images, strict=True)])
            done = super().__call__(
                images=[images[place] for place in first], text=[text[place] for place in first], **options
            )
            return _repeated(done, index)

        def apply_chat_template(self, conversation: list, **options: Any) -> Any:
            if not options.get("tokenize"):
                asked = json.dumps([conversation, options], default=id)
                if asked != last["asked"]:
                    last.update(asked=asked, text=super().apply_chat_template(conversation, **options))
                return last["text"]
            if not options.get("return_dict") or not isinstance(conversation[0], list):
                return super().apply_chat_template(conversation, **options)
            first, index = _distinct([json.dumps(one, default=id) for one in conversation])
            return _repeated(super().apply_chat_template([conversation[place] for place in first], **options), index)

    processor.__class__ = Shared


def _number_images(processor: ProcessorMixin, pixels: Pixels) -> None:
    kind = type(processor.image_processor)
    last: dict[str, Any] = {"images": [], "options": None, "done": None}

    class Numbering(kind):
        def preprocess(self, images: Any, return_tensors: Any = None, **options: Any) -> BatchFeature:
            images = make_flat_list_of_images(images)
            if not _same(images, last["images"]) or options != last["options"]:
                first, index = _distinct(list(map(id, images)))
                done = super().preprocess([images[place] for place in first], **options)
                patches = done["image_grid_thw"].prod(1)
                numbers = pixels.replace(torch.as_tensor(done["pixel_values"]).split(patches.tolist()))
                done["pixel_values"] = np.repeat(numbers, patches)[:, None]
                last.update(images=images, options=options, done=_repeated(done, index))
            return BatchFeature(data=dict(last["done"]), tensor_type=return_tensors)

    processor.image_processor.__class__ = Numbering


def _distinct(keys: Sequence[Any]) -> tuple[list[int], list[int]]:
    """Return the place where each distinct key stands first, and for every key, which of these it equals."""
    number: dict[Any, int] = {}
    index = [number.setdefault(key, len(number)) for key in keys]
    return [index.index(each) for each in range(len(number))], index


def _repeated(done: BatchFeature, index: Sequence[int]) -> BatchFeature:
    """Change a processor's output, with one image a row, to these of its rows."""
    patches = np.asarray(done["image_grid_thw"]).prod(1)
    places = np.split(np.arange(patches.sum()), patches.cumsum()[:-1])
    for name, values in done.items():
        rows = np.concatenate([places[row] for row in index]) if name == "pixel_values" else index
        done[name] = [values[row] for row in rows] if isinstance(values, list) else values[rows]
    return done


def share_forward(model: PreTrainedModel, pixels: Pixels) -> None:
    """Make a model encode each distinct image of a batch once, and read each distinct prompt once: when generation
    starts and, under sdpa attention, when TRL asks for the completions' log-probabilities. `pixels`: from
    share_processing.
    """
    # TRL builds each batch from copies. What is equal is found by its values, not by its place, so a shuffled or cut
    # batch stays right; and it is shared below TRL, in the modules' own calls, so that its trainer stays as it is.
    core, read, read_text = model.model, model.model.forward, model.model.language_model.forward
    encode = core.get_image_features
    images: list[int] = []  # of the batch under way: which distinct image each row has
    packing: list[Packing] = []
    prompts: list[torch.Tensor] = []

    def encode_once(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor, **options: Any) -> Any:
        numbers = _numbers(pixel_values, image_grid_thw)
        first, index = _distinct(numbers)
        images[:] = index
        seen = torch.cat([pixels[numbers[place]] for place in first]).to(pixel_values.device)
        output = encode(seen, image_grid_thw[first], **options)
        output.pooler_output = tuple(output.pooler_output[place] for place in index)
        if "deepstack_features" in output:  # Qwen3-VL
            output.deepstack_features = [[layer[place] for place in index] for layer in output.deepstack_features]
        return output

    def begin(module: torch.nn.Module, args: tuple, options: dict[str, Any]) -> None:
        packing.clear()
        prompts.clear()
        if options.get("mm_encoder_outputs"):  # a generation's first pass: it has encoded the images before
            prompts.append(options["input_ids"])
            return
        images.clear()
        if options.get("fused_lm_head") and model.config._attn_implementation == "sdpa":
            ids, grids = options["input_ids"], options.get("image_grid_thw")
            if grids is not None and len(grids) == len(ids):
                prompt = int((options["labels"] != -100).any(0).int().argmax())
                numbers = _numbers(options["pixel_values"], grids)
                if plan := Packing.of(ids, options["attention_mask"], prompt, numbers):
                    packing.append(plan)

    def score_packed(**options: Any) -> Any:
        if not packing:
            return read(**options)
        layout = {name: options[name] for name in ("image_grid_thw", "mm_token_type_ids", "attention_mask")}
        positions, _ = core.get_rope_index(options["input_ids"], **layout)
        output = read(**packing[0].pack(options, positions))
        output.last_hidden_state = packing[0].unpack(output.last_hidden_state, options["input_ids"].shape[1])
        return output

    def begin_once(**options: Any) -> Any:
        if prompts and len(images) == len(prompts[0]):
            return _prefill_once(read_text, groups_of(prompts[0], images), options)
        return read_text(**options)

    model.register_forward_pre_hook(begin, with_kwargs=True)
    core.get_image_features = encode_once
    core.forward = score_packed
    core.language_model.forward = begin_once


def _numbers(pixel_values: torch.Tensor, image_grid_thw: torch.Tensor) -> list[int]:
    """Return the number of each image of a batch, which stands at each of its patches."""
    patches = image_grid_thw.prod(-1)
    return pixel_values[patches.cumsum(0) - patches, 0].tolist()


def _prefill_once(read: Callable[..., Any], groups: list[list[int]], options: dict[str, Any]) -> Any:
    """Run the first pass of a generation on one row a group, and give every row its keys, values and states."""
    cache, mask, embeddings = (options[name] for name in ("past_key_values", "attention_mask", "inputs_embeds"))
    plain = type(cache) is DynamicCache and not cache.offloading and cache.get_seq_length() == 0
    if not plain or (mask is not None and mask.ndim != 2) or len(groups) == len(embeddings):
        return read(**options)
    first = torch.tensor([group[0] for group in groups], device=embeddings.device)
    group_of = {row: number for number, group in enumerate(groups) for row in group}
    index = torch.tensor([group_of[row] for row in range(len(embeddings))], device=embeddings.device)
    own = {"inputs_embeds": embeddings[first], "attention_mask": None if mask is None else mask[first]}
    own |= {"position_ids": options["position_ids"][:, first], "past_key_values": DynamicCache()}
    if options.get("deepstack_visual_embeds") is not None:  # Qwen3-VL
        own |= _deepstack(options, first) | {"visual_pos_masks": options["visual_pos_masks"][first]}
    output = read(**(options | own))
    own["past_key_values"].batch_select_indices(index)
    cache.layers[:] = own["past_key_values"].layers
    output.past_key_values = cache
    output.last_hidden_state = output.last_hidden_state[index]
    return output


def _deepstack(options: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Return Qwen3-VL's deeper image features, one line an image token, of some rows of the batch."""
    visual = options["visual_pos_masks"]
    owner = torch.arange(len(visual), device=visual.device)[:, None].expand_as(visual)[visual]
    keep = torch.cat([(owner == row).nonzero()[:, 0] for row in rows])
    return {"deepstack_visual_embeds": [layer[keep] for layer in options["deepstack_visual_embeds"]]}


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
