"""Pretraining of a synthetic base model: fresh scenes at every step, exact labels first, then coarse ones (ours).

The last labels are coarse on purpose: boxes too large, corners shaken, objects left out. So the base model knows the
answer's form and roughly where things are, and leaves reinforcement learning a bias to correct. Exact labels come first
because they teach the rest in two thirds of the steps that coarse ones take.
"""

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import PreTrainedModel

from vision_r1.data.scenes import Style, draw_scene
from vision_r1.data.worlds import WORLDS
from vision_r1.files import UserError
from vision_r1.miniature.muon import Muon
from vision_r1.miniature.processor import patchify
from vision_r1.miniature.questions import ask
from vision_r1.miniature.recipe import Recipe
from vision_r1.miniature.resume import SAVE_EVERY, Checkpoints
from vision_r1.miniature.together import SharedGradients, together
from vision_r1.processors import ImageOnlyProcessor, prompt_text
from vision_r1.progress import Progress
from vision_r1.prompts import DEFAULT, Templates
from vision_r1.resources import hardware, peak_rss_mb

LOG_EVERY = 50  # steps
SCENES = 7000  # first part of the scenes' seed: no data set of synthetic scenes has it, so none shares a scene
FEW = 3  # objects of the first scenes, at most, where scenes fill up
IGNORED = -100  # label of a position that is not learned


def pretrain(
    model: PreTrainedModel,
    processor: ImageOnlyProcessor,
    recipe: Recipe,
    seed: int,
    processes: int = 1,
    templates: Templates = DEFAULT,
    checkpoints: Checkpoints | None = None,
) -> list[dict[str, float]]:
    """Train the model in place and return one {step, loss, learning_rate} per LOG_EVERY steps.

    checkpoints: where to resume from and to save, if anywhere; weights are those of a training without a break.
    processes: how many share the rows of each batch and the matrices of each update; on the CPU only. Batches are
    the same for any number. On the CPU the same seed and number give the same weights. `loss` is the mean since the
    entry before, `learning_rate` AdamW's. Raises UserError for a loss that isn't finite, and for too many processes.
    """
    most = min(recipe.batch_size, len(matrices_of(model)))
    if processes > most:
        raise UserError(
            f"--threads {processes}: each process needs a row of the batch and a matrix; give at most {most}"
        )
    model.to(recipe.device).train()
    gradients = SharedGradients(model, processes)
    history = together(
        lambda rank: _train(
            model, Batches(processor, recipe, seed, rank, processes, templates), recipe, gradients, checkpoints
        ),
        processes,
    )
    model.to("cpu").eval()
    return history


def _train(
    model: PreTrainedModel,
    batches: "Batches",
    recipe: Recipe,
    gradients: SharedGradients,
    checkpoints: Checkpoints | None,
) -> list[dict[str, float]]:
    rank, began = batches.rank, time.monotonic()
    optimizers = make_optimizers(model, recipe, rank, batches.processes)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, schedule(recipe)) for each in optimizers]
    first, history = checkpoints.load(rank, model, optimizers, schedules) if checkpoints else (0, [])
    gradients.wait()  # rank 0 restores the weights that all share
    batches.first = first
    loader = iter(DataLoader(batches, batch_size=None, num_workers=recipe.workers))
    losses, progress = [], Progress(recipe.steps, "steps", first)
    for step in range(first + 1, recipe.steps + 1):
        inputs = model_inputs(next(loader), recipe.device)
        gradients.collect(rank)
        with torch.autocast(recipe.device, torch.bfloat16, enabled=recipe.device == "cuda"):
            loss = model(**inputs, num_items_in_batch=1).loss  # the sum over tokens
        loss.backward()
        losses.append(gradients.average(rank, loss, (inputs["labels"] != IGNORED).sum()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        learning_rate = schedules[-1].get_last_lr()[0]
        for optimizer, scheduler in zip(optimizers, schedules, strict=True):
            optimizer.step()
            scheduler.step()
        gradients.wait()
        if step % LOG_EVERY == 0 or step == recipe.steps:
            mean = float(np.mean([value.item() for value in losses]))
            losses = []
            if not math.isfinite(mean):
                if rank > 0:
                    return history  # one process says it for all
                raise UserError(
                    f"--muon_learning_rate {recipe.muon_learning_rate:g} --adamw_learning_rate "
                    f"{recipe.adamw_learning_rate:g}: the loss is {mean} at step {step}; lower them"
                )
            if rank == 0:
                history.append({"step": step, "loss": mean, "learning_rate": learning_rate})
                progress.log(step, f"loss {mean:.3f}")
        if checkpoints and step % SAVE_EVERY == 0 and step < recipe.steps:
            seconds = checkpoints.seconds + time.monotonic() - began
            checkpoints.save(rank, step, model, optimizers, schedules, history, seconds, gradients)
        if rank == 0:
            progress.update(step)
    return history


class Batches(IterableDataset):
    """Endless batches of `collate`, from number `first` on; each of `processes` gets its share of the rows.

    Each scene has a seed of its own, so that batches do not depend on the number of workers and processes.
    """

    def __init__(
        self,
        processor: ImageOnlyProcessor,
        recipe: Recipe,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        templates: Templates = DEFAULT,
    ) -> None:
        self.processor, self.recipe, self.templates = processor, recipe, templates
        self.seed, self.rank, self.processes = seed, rank, processes
        self.first = 0

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        own, every = (worker.id, worker.num_workers) if worker else (0, 1)
        prompt_tokens = prompt_encoder(self.processor, self.templates.system)
        exact = replace(self.recipe, grow=0.0, jitter=0.0, drop=0.0)
        for number in itertools.count(self.first + own, every):
            rows = range(self.rank, self.recipe.batch_size, self.processes)
            streams = [np.random.default_rng((SCENES, self.seed, number, row)) for row in rows]
            recipe = exact if number < self.recipe.exact_steps else self.recipe
            style = style_at(number, recipe)
            questions = [draw_question(recipe, rng, self.templates, style) for rng in streams]
            yield collate(questions, self.processor, prompt_tokens)


def style_at(step: int, recipe: Recipe) -> Style:
    """Return how a step's scenes look: few objects first, among which the loss falls sooner (docs/gpu.md)."""
    style = WORLDS[recipe.world].plain
    if step >= recipe.filling_steps:
        return style
    low, high = style.objects
    most = FEW + (high - FEW) * step // recipe.filling_steps
    return replace(style, objects=(low, min(max(low, most), high)))


def make_optimizers(
    model: PreTrainedModel, recipe: Recipe, rank: int = 0, processes: int = 1
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for all other weights (embeddings, norms, biases, patches): a process's share."""
    matrices = matrices_of(model)
    others = [p for n, p in model.named_parameters() if n not in matrices]
    # The merger's first matrix reads four patches side by side. In one piece it would take half of Muon's time.
    blocks = {"model.visual.merger.mlp.0.weight": 4}
    costly_first = sorted(matrices, key=lambda name: -matrices[name].numel())
    groups = [{"params": [matrices[name]], "blocks": blocks.get(name, 1)} for name in costly_first[rank::processes]]
    muon = {"lr": recipe.muon_learning_rate, "weight_decay": recipe.weight_decay}
    adamw = {"lr": recipe.adamw_learning_rate, "betas": (0.9, 0.95), "weight_decay": recipe.weight_decay}
    return [Muon(groups, **muon), torch.optim.AdamW(others[rank::processes], **adamw)]


def matrices_of(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """Return the matrices between a layer's inputs and outputs, by name: those that Muon is made for."""
    return {n: p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n and "lm_head" not in n}


def schedule(recipe: Recipe) -> Callable[[int], float]:
    """Return the factor of the learning rates at a step: linear warm-up, times linear decay to 2 %."""
    return lambda step: min(1, (step + 1) / recipe.warmup_steps) * (1 - 0.98 * step / recipe.steps)


def draw_question(
    recipe: Recipe, rng: np.random.Generator, templates: Templates = DEFAULT, style: Style | None = None
) -> dict[str, Any]:
    """Draw a scene and a question about it: {image (height, width, 3) uint8, prompt, answer with coarse boxes}."""
    task = ("detection", "grounding", "negative")[rng.choice(3, p=recipe.shares)]
    style, question = style or WORLDS[recipe.world].plain, None
    while question is None:  # a scene that has every category serves no negative question
        scene = draw_scene(style, rng)
        question = ask(task, scene.objects, style.categories, rng, templates)
    height, width = scene.image.shape[:2]
    objects = coarsen(question["objects"], width, height, recipe, rng)
    answer = templates.answer([item["bbox"] for item in objects], [item["label"] for item in objects])
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


def prompt_encoder(
    processor: ImageOnlyProcessor, system: str | None = None
) -> Callable[[str, tuple[int, int]], list[int]]:
    """Return a cached function: (prompt, image (height, width)) -> token ids up to where the answer starts."""

    @functools.cache
    def encode(prompt: str, size: tuple[int, int]) -> list[int]:
        text = prompt_text(processor, prompt, system)
        return processor(images=[np.zeros((*size, 3), np.uint8)], text=[text])["input_ids"][0]

    return encode


def collate(
    questions: Sequence[Mapping[str, Any]],
    processor: ImageOnlyProcessor,
    prompt_tokens: Callable[[str, tuple[int, int]], list[int]],
) -> dict[str, torch.Tensor]:
    """Return one batch with labels; only the answers are learned. Images share one size and are not yet patches."""
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
        "images": torch.from_numpy(images),
        "image_grid_thw": torch.tensor([(1, size[0] // 14, size[1] // 14)]).repeat(len(questions), 1),
    }


def model_inputs(batch: Mapping[str, torch.Tensor], device: str = "cpu") -> dict[str, torch.Tensor]:
    """Return a batch as the model takes it. Images become patches on the device: they are eight times as many bytes."""
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}
    return {"pixel_values": patchify(inputs.pop("images")), **inputs}


def summary(
    model: PreTrainedModel, recipe: Recipe, history: list[dict[str, float]], seconds: float, processes: int
) -> dict[str, Any]:
    """Return what metrics.json tells of a pretraining: durations, sizes, versions and the last logged values."""
    return {
        "stage": "base",
        "steps": recipe.steps,
        "seconds": round(seconds, 1),
        "samples_seen": recipe.steps * recipe.batch_size,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "peak_rss_mb": peak_rss_mb(),
        "hardware": hardware(),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "final": history[-1],
    }
