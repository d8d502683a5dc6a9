"""Pretraining of a made base model: fresh made scenes at every step, coarse labels (ours).

The labels are coarse on purpose: boxes too large, corners shaken, objects left out. So the base knows
the answer's form and roughly where things are, and leaves reinforcement learning a bias to correct.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedModel

from vision_r1.data.scenes import draw_scene
from vision_r1.data.tasks import ask
from vision_r1.data.worlds import WORLDS
from vision_r1.miniature.muon import Muon
from vision_r1.miniature.processor import patchify
from vision_r1.miniature.recipe import Recipe
from vision_r1.processors import ImageOnlyProcessor
from vision_r1.prompts import format_answer
from vision_r1.resources import hardware, peak_rss_mb

log = logging.getLogger(__name__)

LOG_EVERY = 50  # steps
SCENES = 7000  # first part of the scenes' seed, so that no data set of made scenes has the same
IGNORED = -100  # label of a position that is not learned


def pretrain(
    model: PreTrainedModel, processor: ImageOnlyProcessor, recipe: Recipe, seed: int
) -> list[dict[str, float]]:
    """Train the model in place and return one {step, loss, learning_rate} per LOG_EVERY steps.

    `loss` is the mean since the entry before, `learning_rate` AdamW's. On the CPU the same
    seed, number of threads and of workers give the same weights.
    """
    batches = iter(DataLoader(Batches(processor, recipe, seed), batch_size=None, num_workers=recipe.workers))
    model.to(recipe.device)
    optimizers = make_optimizers(model, recipe)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, schedule(recipe)) for each in optimizers]
    history, losses, start = [], [], time.monotonic()
    model.train()
    for step in range(1, recipe.steps + 1):
        inputs = {name: tensor.to(recipe.device) for name, tensor in next(batches).items()}
        with torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.device == "cuda"):
            loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learning_rate = schedules[-1].get_last_lr()[0]
        for optimizer, scheduler in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        losses.append(loss.detach())
        if step % LOG_EVERY == 0 or step == recipe.steps:
            mean = float(np.mean([value.item() for value in losses]))
            history.append({"step": step, "loss": mean, "learning_rate": learning_rate})
            pace = (time.monotonic() - start) / step
            left = pace * (recipe.steps - step)
            log.info("step %d/%d  loss %.3f  %.3f s/step  left %.0f s", step, recipe.steps, mean, pace, left)
            losses = []
    model.to("cpu").eval()
    return history


class Batches(IterableDataset):
    """Batches of model inputs without end; each worker draws scenes from a stream of its own."""

    def __init__(self, processor: ImageOnlyProcessor, recipe: Recipe, seed: int) -> None:
        self.processor, self.recipe, self.seed = processor, recipe, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        rng = np.random.default_rng((SCENES, self.seed) if worker is None else (SCENES, self.seed, worker.id))
        prompt_tokens = prompt_encoder(self.processor)
        while True:
            questions = [draw_question(self.recipe, rng) for _ in range(self.recipe.batch_size)]
            yield collate(questions, self.processor, prompt_tokens)


def make_optimizers(model: PreTrainedModel, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings, norms, biases and the patch convolution."""
    matrices = {n: p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n}
    others = [p for n, p in model.named_parameters() if n not in matrices]
    return [
        Muon(matrices.values(), lr=recipe.muon_learning_rate, weight_decay=recipe.weight_decay),
        torch.optim.AdamW(others, lr=recipe.adamw_learning_rate, betas=(0.9, 0.95), weight_decay=recipe.weight_decay),
    ]


def schedule(recipe: Recipe) -> Callable[[int], float]:
    """Return the factor of the learning rates at a step: linear warm-up, times linear decay to 2 %."""
    return lambda step: min(1, (step + 1) / recipe.warmup_steps) * (1 - 0.98 * step / recipe.steps)


def draw_question(recipe: Recipe, rng: np.random.Generator) -> dict[str, Any]:
    """Draw a scene and a question about it: {image (height, width, 3) uint8, prompt, answer with coarse boxes}."""
    task = ("detection", "grounding", "negative")[rng.choice(3, p=recipe.shares)]
    style, question = WORLDS[recipe.world].plain, None
    while question is None:  # a scene that has every category serves no negative question
        scene = draw_scene(style, rng)
        question = ask(task, scene.objects, style.categories, rng)
    height, width = scene.image.shape[:2]
    objects = coarsen(question["objects"], width, height, recipe, rng)
    answer = format_answer([item["bbox"] for item in objects], [item["label"] for item in objects])
    return {"image": scene.image, "prompt": question["prompt"], "answer": answer}


def coarsen(
    objects: list[dict[str, Any]], width: int, height: int, recipe: Recipe, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return objects with coarse boxes (pixels, clipped to the image), some left out, but one always kept."""
    kept = [item for item in objects if rng.random() >= recipe.drop]
    if objects and not kept:
        kept = [objects[rng.integers(len(objects))]]
    coarse = []
    for item in kept:
        x1, y1, x2, y2 = item["bbox"]
        sides = np.array((x2 - x1, y2 - y1) * 2)
        shift = recipe.grow * sides * (-1, -1, 1, 1) + rng.normal(0, recipe.jitter, 4) * sides
        box = (np.array(item["bbox"]) + shift).round().clip(0, (width, height, width, height))
        coarse.append({"label": item["label"], "bbox": box.tolist()})
    return sorted(coarse, key=lambda item: item["bbox"][:2])


def prompt_encoder(processor: ImageOnlyProcessor) -> Callable[[str, tuple[int, int]], list[int]]:
    """Return a cached function: (prompt, image (height, width)) -> token ids up to where the answer starts."""

    @functools.cache
    def encode(prompt: str, size: tuple[int, int]) -> list[int]:
        content = [{"type": "image", "image": np.zeros((*size, 3), np.uint8)}, {"type": "text", "text": prompt}]
        encoded = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=True, return_dict=True, add_generation_prompt=True
        )
        return encoded["input_ids"][0]

    return encode


def collate(
    questions: Sequence[Mapping[str, Any]],
    processor: ImageOnlyProcessor,
    prompt_tokens: Callable[[str, tuple[int, int]], list[int]],
) -> dict[str, torch.Tensor]:
    """Return one batch of model inputs with labels; only the answers are learned. Images share one size."""
    images = np.stack([question["image"] for question in questions])
    tokenizer = processor.tokenizer
    size = images.shape[1:3]
    prompts = [prompt_tokens(question["prompt"], size) for question in questions]
    answers = [
        [*ids, tokenizer.eos_token_id] for ids in tokenizer([question["answer"] for question in questions]).input_ids
    ]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    input_ids = torch.full((len(questions), longest), tokenizer.pad_token_id)
    labels = torch.full_like(input_ids, IGNORED)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        input_ids[row, :end] = torch.tensor(prompt + answer)
        labels[row, len(prompt) : end] = input_ids[row, len(prompt) : end]
    return {
        # No attention mask: the padding comes last, where a causal model cannot see it.
        "input_ids": input_ids,
        "labels": labels,
        "mm_token_type_ids": (input_ids == processor.image_token_id).long(),
        "pixel_values": patchify(images),
        "image_grid_thw": torch.tensor([(1, size[0] // 14, size[1] // 14)]).repeat(len(questions), 1),
    }


def summary(model: PreTrainedModel, recipe: Recipe, history: list[dict[str, float]], seconds: float) -> dict[str, Any]:
    """Return what metrics.json tells of a pretraining: durations, sizes, versions and the last logged values."""
    return {
        "stage": "base",
        "steps": recipe.steps,
        "seconds": round(seconds, 1),
        "samples_seen": recipe.steps * recipe.batch_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "peak_rss_mb": peak_rss_mb(),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "final": history[-1],
    }
