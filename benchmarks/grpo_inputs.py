"""Models with random weights, and rows of synthetic scenes, for benchmarks of GRPO steps; what a step of them needs."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from PIL import Image
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

from vision_r1.data.scenes import CATEGORIES, Style, draw_scene
from vision_r1.data.worlds import WORLDS
from vision_r1.families import family
from vision_r1.frames import Frame
from vision_r1.miniature.model import make_model
from vision_r1.miniature.processor import make_processor
from vision_r1.miniature.questions import ask
from vision_r1.preflight.architecture import PUBLISHED, Architecture, architecture_of
from vision_r1.preflight.batches import Batches
from vision_r1.preflight.memory import Setting, estimate, peak
from vision_r1.prompts import DEFAULT

TEXT_TOKENS = 60  # of a prompt, about
SIZES = {"3b": "Qwen/Qwen2.5-VL-3B-Instruct", "7b": "Qwen/Qwen2.5-VL-7B-Instruct"}
PHOTOGRAPH = Style(width=160, height=120, scale=(4, 4))  # 640 x 480 pixels, the most common size in COCO


def make_checkpoint(folder: str | Path, size: str, device: str, dtype: str) -> tuple[Any, Architecture]:
    """Write a model with random weights and its processor to a folder; return the processor and the sizes."""
    processor = make_processor(WORLDS["miniature"])
    if size == "miniature":
        model = make_model(processor.tokenizer, hidden_size=128, text_layers=2, vision_layers=2, seed=0)
    else:
        processor.image_processor.size = {"shortest_edge": 784, "longest_edge": 401408}
        name, published = PUBLISHED[SIZES[size]]
        small = make_model(processor.tokenizer, hidden_size=32, text_layers=1, vision_layers=1, seed=0).config
        ends = {"bos_token_id": None, "eos_token_id": processor.tokenizer.eos_token_id}
        rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
        text = published["text_config"] | ends
        text |= {"pad_token_id": processor.tokenizer.pad_token_id, "rope_parameters": rope}
        ids = {name: getattr(small, name) for name in ("image_token_id", "video_token_id", "vision_start_token_id")}
        config = AutoConfig.for_model(name, **(published | {"text_config": text}), **ids)
        torch.manual_seed(0)
        with torch.device(device):
            torch.set_default_dtype(getattr(torch, dtype))
            model = Qwen2_5_VLForConditionalGeneration(config)
            torch.set_default_dtype(torch.float32)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return processor, architecture_of(model.config)


def make_rows(folder: str | Path, size: str, count: int, limits: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return `count` rows of a training file about synthetic scenes, as large as photographs for the large models."""
    rng = np.random.default_rng(0)
    rows = []
    while len(rows) < count:
        scene = draw_scene(Style() if size == "miniature" else PHOTOGRAPH, rng)
        asked = ask("detection", scene.objects, CATEGORIES, rng)
        path = Path(folder) / f"{len(rows)}.png"
        Image.fromarray(scene.image).save(path)
        height, width = scene.image.shape[:2]
        seen = family("qwen2_5_vl").input_size(width, height, limits["shortest_edge"], limits["longest_edge"])
        sizes = {"width": width, "height": height, "input_width": seen[0], "input_height": seen[1]}
        about = {"num_instances": len(asked["objects"]), "frame": "pixel", "task": "detection", "source_id": path.stem}
        rows.append({**asked, **sizes, **about, "image": str(path)})
        rows[-1] |= {"system": None, "answer": DEFAULT.right_answer(asked["objects"], Frame.of(rows[-1]))}
    return rows


def flops_of_a_step(model: Architecture, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> float:
    """Return what the mathematics of a step needs, whatever an arm repeats.

    A weight costs 2 operations a token in a forward pass: one pass to sample, one for the loss, one for the reference
    where there is one. Backward it costs 4, or 2 where it is frozen. The language model's weights meet every token of
    every completion's sequence, the vision encoder's each patch of each distinct image. Attention's products, a few
    percent at these lengths, are left out.
    """
    patches = sum(row["input_width"] * row["input_height"] for row in rows) / 14**2
    tokens = args.generations * (patches / model.merge + len(rows) * (TEXT_TOKENS + args.length))
    text = model.parameters - model.vision_parameters
    a_weight = 2 + 2 + (4 if args.lora_r is None else 2) + (2 if args.beta > 0 else 0)
    return a_weight * (text * tokens + model.vision_parameters * patches)


def estimated_memory(model: Architecture, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> float:
    """Return the peak of GPU memory that target `preflight` would state for these steps, in MB."""
    completions = args.prompts * args.generations
    micro = args.micro or completions
    passes = completions // micro
    batches = Batches("step", args.steps, micro, passes, 1, len(rows), args.generations, passes, share_copies=True)
    setting = Setting(
        mode="single",
        dtype=args.dtype,
        gradient_checkpointing=True,
        image_tokens=max(row["input_width"] * row["input_height"] for row in rows) // (14**2 * model.merge),
        text_tokens=TEXT_TOKENS,
        answer_tokens=args.length,
        reference=args.beta > 0,
        lora_rank=args.lora_r or 0,
    )
    return peak(estimate(model, batches, setting)) / 2**20
