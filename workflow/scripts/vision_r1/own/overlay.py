"""The configuration of a run on own data, as text with a comment at each value that says where it comes from."""

import json
import re
from collections.abc import Mapping
from typing import Any

from vision_r1.own.data import Part
from vision_r1.own.limits import FEWEST_STEPS, MOST_STEPS, PASSES, ROOM, Limits

SCENES_BASE = (
    "The base model is small and has seen synthetic scenes only: this is a trial of the data and of every stage, "
    "not of what a real model would reach."
)


def overlay(
    name: str,
    command: str,
    config: Mapping[str, Any],
    train: tuple[Part, Mapping[str, Any]],
    test: tuple[Part, Mapping[str, Any]],
    split: str,
    limits: Limits,
    counted: str,
) -> str:
    """Return the text of the configuration file.

    command: how the run is started; config: what it is laid over, with the model in it; train, test: each
    part with its `numbers`; split: how they were split, one sentence; counted: how tokens were counted.
    """
    (train_part, of_train), (test_part, of_test) = train, test
    miniature = config["model"]["source"] == "made"
    copied = any(part.copied_from for part in (train_part, test_part))
    # upstream_2026's protocols enlarge small images.
    enlarged = {
        name: config["evaluation"]["protocols"][name].get("min_pixels", 0) for name in ("one-prompt", "all-categories")
    }
    protocols = ["one-prompt", *(["all-categories"] if 1 < len(of_train["categories"]) <= 20 else [])]
    total = 2 * limits.positive + limits.negative
    more = min(total // 10, 2 * limits.positive)
    quoted = _flow(name)  # else YAML reads 2024, on or null as another type
    lines = [
        "# A run on own data, written by workflow/scripts/new_run.py. Every value may be edited. Start it with",
        f"#   {command}",
        "# or see first what it needs: the same with -- preflight at the end.",
        f"# Training: {_in_words(of_train)}. Test: {_in_words(of_test)}.",
        f"# {split}",
        f"over: {config['recipe']} # the run is refused over any other recipe",
        f"run: {quoted} # results/{name}",
        "",
        "model:",
        *_model(config),
        f"  max_pixels: {limits.pixels} # the largest image has {of_train['pixels']:,}; more needs more memory",
        *(_base(config) if miniature else []),
        "",
        *(["# Copied. When labels change, move the copies and this file elsewhere, and run new_run.py."] * copied),
        "datasets:",
        f"  {name}_train: {_entry(train_part)}",
        f"  {name}_test: {_entry(test_part)}",
        "",
        "data: # test images, and images that look like one, are kept out of training automatically",
        f"  train: [{name}_train]",
        f"  detection: {limits.positive} # questions for all categories: {of_train['labelled']} images have objects, "
        "less those held out",
        f"  grounding: {limits.positive} # questions for one category, as many",
        "  rec: 0 # referring expressions: the data have none",
        f"  negative: {limits.negative} # a fifth of that, or all possible: {of_train['without_category']} images "
        "lack a category",
        "  hard_share: null # as many crowded images as there are",
        f"  max_instances: {limits.instances} # the most objects of an image whose right answer fits",
        "  max_prompt_tokens: null # no limit",
        f"  max_answer_tokens: {limits.answer} # the longest right answer has {limits.longest} tokens ({counted}); "
        f"{limits.over} images have longer ones than this",
        f"  held_out: {limits.held_out} # share of the training images to choose checkpoints on: "
        f"{max(1, int(limits.held_out * of_train['labelled']))} of {of_train['labelled']}",
        "  keep_out: []",
        "",
        "reward: { criterion: strict }",
        "",
        f"sft: {{ max_steps: {limits.sft_steps} }} # {_why_steps(miniature)}",
        "grpo:",
        "  completion_room: null",
        f"  max_completion_length: {limits.completion} # tokens: {ROOM} times the longest right answer, or what may be",
        "grpo_stage1:",
        f"  init: {'sft # without it this base, which knows no photographs, earns no reward' if miniature else 'base'}",
        f"  max_steps: {limits.grpo_steps} # {_why_steps(miniature)}",
        "  recall_threshold: 0.5 # thresholds of both stages: the paper, section 3.3",
        "  precision_low: 0.5",
        "  precision_high: 0.75",
        "grpo_stage2:",
        "  init: grpo_stage1",
        f"  max_steps: {limits.grpo_steps}",
        "  recall_threshold: 0.75",
        "  precision_low: 0.75",
        "  precision_high: 0.9",
        "",
        "evaluation:",
        f"  suites: {{ {quoted}: [{name}_test] }}",
        "  protocols: # answers as long as completions in training, images as large",
        *(
            f"    {protocol}: {{ max_new_tokens: {limits.completion}, max_pixels: {max(limits.pixels, fewest)} }}"
            for protocol, fewest in enlarged.items()
        ),
        "  suite_protocols:",
        f"    {quoted}: [{', '.join(protocols)}] # the first is the headline; all-categories: a question a category",
        *(["  batch_size: 16 # answers are long beside the miniature's own"] if miniature else []),
        "  anchors: none # there are no published numbers for these data",
        "",
        "report:",
        f"  title: {_flow(f'Vision-R1 on {name}')}",
        "  experiments: [strict] # others: config/experiments.yaml",
        f"  suites: [{quoted}]",
        "  training_seeds: [0] # [0, 1, 2]: every training three times",
        f"  banner: {_flow(SCENES_BASE) if miniature else 'null'}",
        "  disclosures:",
        *(f"    - {_flow(text)}" for text in _disclosures(split, limits)),
        "",
        "ablations: { experiments: [strict, sft_matched], training_seeds: [0, 1, 2] } # target `ablations`",
        "experiments: # their numbers depend on the data",
        f"  sft_matched: {{ sft: {{ {_matched(config, limits, miniature)} }} }} # as many updates as strict",
        "  more_negatives:",
        f"    data: {{ detection: {limits.positive - more // 2}, grounding: {limits.positive - more // 2}, rec: 0, "
        f"negative: {limits.negative + 2 * (more // 2)} }}",
    ]
    return "\n".join(lines) + "\n"


def _entry(part: Part) -> str:
    return _flow(part.entry()) + (f" # from {part.copied_from}" if part.copied_from else "")


def _model(config: Mapping[str, Any]) -> list[str]:
    keys = ("family", "source", "id", "revision")
    return [f"  {key}: {_flow(config['model'][key])}" for key in keys]


def _base(config: Mapping[str, Any]) -> list[str]:
    return [
        "",
        "base: # the miniature's, made here from synthetic scenes; all its labels are exact",
        f"  exact_steps: {config['base']['steps']}",
        f"  names: {_flow(config['base']['names'])} # one token each: spelled in letters, they would hardly be learned",
    ]


def _why_steps(miniature: bool) -> str:
    return (
        "a trial of minutes on a CPU"
        if miniature
        else f"{PASSES} passes over the training file, {FEWEST_STEPS} to {MOST_STEPS} steps"
    )


def _matched(config: Mapping[str, Any], limits: Limits, miniature: bool) -> str:
    """Return the steps of an SFT baseline with as many updates as `strict`, whose stage 1 starts from SFT or base."""
    stages = 2 * limits.grpo_steps
    if not miniature:
        return f"max_steps: {stages}"
    batch = config["sft"]["per_device_train_batch_size"]  # most of strict's updates are SFT's
    return f"max_steps: {limits.sft_steps + stages}, per_device_train_batch_size: {batch}"


def _disclosures(split: str, limits: Limits) -> list[str]:
    texts = [
        split,
        f"Images are shrunk to at most {limits.pixels:,} pixels, and answers end at {limits.completion} tokens, in "
        "training and evaluation alike.",
    ]
    if limits.over:
        texts.append(
            f"{limits.over} training images have more objects than fit into {limits.answer} tokens: their questions "
            "for all categories are left out of training. Test images with as many objects are cut off there."
        )
    return texts


def _in_words(numbers: Mapping[str, Any]) -> str:
    names, objects = numbers["categories"], numbers["objects"]
    return (
        f"{numbers['images']:,} images, {numbers['boxes']:,} boxes (at most {max(objects)} an image), "
        f"{len(names)} categor{'y' if len(names) == 1 else 'ies'}"
    )


def _flow(value: Any) -> str:
    """Write a value on one line of YAML, of which JSON is a part."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + " }"
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)  # only escaped in YAML
