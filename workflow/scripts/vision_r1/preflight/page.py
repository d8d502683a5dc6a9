"""The preflight page: a survey of a run as text that reads without a manual."""

from collections.abc import Mapping, Sequence
from typing import Any

from vision_r1.preflight.memory import GIB


def page(summary: Mapping[str, Any]) -> str:
    """Return the page of a survey (vision_r1.preflight.survey)."""
    sections = [
        ("Model and launch", _model(summary)),
        (
            "Batches",
            [
                line
                for training in summary["trainings"]
                for line in (f"{training['name']}:", f"  {training['in_words']}")
            ],
        ),
        ("Tokens", _tokens(summary)),
        ("Memory on each GPU", _memory(summary)),
        ("Disk", _checkpoints(summary) + _disk(summary["disk"])),
        ("Prediction", _prediction(summary["prediction"])),
        ("Hours and price", _hours(summary)),
        ("The arms", _arms(summary)),
        ("Unknowns", summary["unknown"]),
        ("Problems", summary["problems"] or ["Nothing."]),
    ]
    lines = [f"Preflight of {summary['run']}"]
    for title, content in sections:
        if content:
            lines += ["", title, "-" * len(title), *content]
    return "\n".join(lines) + "\n"


def _model(summary: Mapping[str, Any]) -> list[str]:
    model, launch = summary["model"], summary["launch"]
    lines = [f"{model['id']}, {model['dtype']}; sizes from {model['sizes_from']}."]
    if "parameters" in model:
        lines.append(
            f"{model['parameters']:,} parameters, {model['vision_parameters']:,} of them in the vision encoder; "
            f"{model['trained']:,} are trained{' (LoRA)' if model['trained'] < model['parameters'] else ''}."
        )
    return [*lines, f"{launch['processes']} x {summary['card']['gpu'] or 'CPU'}: {launch['in_words']}."]


def _tokens(summary: Mapping[str, Any]) -> list[str]:
    lengths, size = summary["lengths"], summary["answer_size"]
    kind = "Counted" if lengths["counted"] else "At most (bounds, see below)"
    lines = [
        f"{kind}: prompt {lengths['image'] + lengths['text']} tokens ({lengths['image']} of the image, "
        f"{lengths['text']} of the text), right answer {lengths['answer']}.",
        f"An object takes {size['item']:.3g} tokens of an answer ({size['source']}).",
    ]
    for key, what in (("max_prompt_tokens", "prompts"), ("max_answer_tokens", "right answers")):
        if summary["dropped_over"][key]:
            lines.append(f"Curation drops {what} of more than {summary['dropped_over'][key]:,} tokens.")
    for training in summary["trainings"]:
        limit, over = training["completion_limit"], training["answers_over_limit"]
        if limit is None:
            continue
        if over:
            verdict = f"{100 * over:.1f} % of the right answers are longer, so they can't be given whole"
        else:
            verdict = "every right answer fits" if limit >= lengths["answer"] else "a right answer may be longer"
        fit = f"{training['objects_fit']} objects fit"
        lines.append(f"{training['name']}: completions end at {limit} tokens, {fit}; {verdict}.")
    return lines + [
        f"Protocol {each['protocol']}: answers end at {each['max_new_tokens']} tokens, "
        f"{each['objects_fit']} objects fit."
        for each in summary["prediction"]["protocols"]
    ]


def _memory(summary: Mapping[str, Any]) -> list[str]:
    trainings = [training for training in summary["trainings"] if "memory" in training]
    if not trainings:
        return []
    card = summary["card"]["gpu_memory_gib"]
    lines = []
    for names, parts, most in _alike(trainings):
        lines.append(f"{names}: {most / GIB:.1f} GiB at the peak, the card has {card:g}")
        lines += [f"  {size / GIB:7.1f} GiB  {part}" for part, size in parts.items()]
    return [*lines, "Sampling, the backward pass and the update take turns, so the peak is less than the sum."]


def _alike(trainings: Sequence[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, int], int]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for training in trainings:
        groups.setdefault(str(training["memory"]), []).append(training)
    return [
        (", ".join(training["name"] for training in group), group[0]["memory"], group[0]["memory_peak"])
        for group in groups.values()
    ]


def _checkpoints(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for training in summary["trainings"]:
        if "checkpoints" not in training:
            continue
        size, count, hours = training["checkpoint_bytes"], training["checkpoints"], ""
        if "gpu_hours" in training:
            whole = training["gpu_hours"] / training["processes"]
            hours = f" ({whole * min(1, training['save_steps'] / training['steps']):.1f} hours)"
        lines.append(
            f"{training['name']}: a checkpoint of {_gigabytes(size)} every {training['save_steps']} steps{hours}: "
            f"{count} in all, {_gigabytes(count * size)}."
        )
    return lines


def _disk(disk: Mapping[str, int]) -> list[str]:
    lines = []
    if disk["archives"]:
        unknown = (
            f", and {disk['archives_of_unknown_size']} of unknown size" if disk["archives_of_unknown_size"] else ""
        )
        lines.append(f"{_gigabytes(disk['archives'])} of archives to download{unknown}, and about as much unpacked.")
    if "models" in disk:
        lines.append(f"{_gigabytes(disk['models'])} of models at the end, including the base model.")
        if disk["chains"]:
            lines.append(f"{_gigabytes(disk['chains'])} of trainer checkpoints that stage 2 resumes from.")
        lines.append(f"{_gigabytes(disk['states'])} of trainer states for each running training (two are kept).")
        lines.append(f"{_gigabytes(disk['written'])} of checkpoints are written in all.")
    needed = disk["archives"] * 2 + sum(disk.get(name, 0) for name in ("models", "chains", "states"))
    short = " THAT IS NOT ENOUGH." if needed > disk["free_here"] else ""
    return [*lines, f"{_gigabytes(disk['free_here'])} are free on this disk.{short}"]


def _hours(summary: Mapping[str, Any]) -> list[str]:
    trainings = [training for training in summary["trainings"] if "gpu_hours" in training]
    if not trainings:
        return []
    lines, price = [], summary["price"]
    for training in trainings:
        hours = f"{training['name']}: {training['gpu_hours']:,.1f} GPU-hours"
        if training["speed"] == "measured":
            lines.append(f"{hours}, at the speed of an earlier training.")
        else:
            seconds = (
                f"{training['sampling_seconds']:.1f} s of sampling and {training['training_seconds']:.1f} s of training"
            )
            lines.append(f"{hours}, {seconds} per step.")
    predicted = summary["prediction"].get("gpu_hours", 0.0)
    if predicted:
        lines.append(f"prediction: {predicted:,.1f} GPU-hours.")
    seeds = summary["training_seeds"]
    total = predicted + seeds * sum(training["gpu_hours"] for training in trainings)
    cost = f", {total * price['gpu_hour']:,.0f} {price['currency']}" if price["gpu_hour"] is not None else ""
    times = f", trainings counted for {seeds} training seeds" if seeds > 1 else ""
    lines.append(f"Together {total:,.1f} GPU-hours{cost}{times}.")
    better = summary["with_zero2"]
    if better:
        lines.append(
            f"With config/accelerate/zero2.yaml in compute.launch: {seeds * better['gpu_hours']:,.1f} GPU-hours of "
            f"training in place of {seeds * better['gpu_hours_now']:,.1f}, and up to {better['memory_peak'] / GIB:.1f} "
            "GiB on each GPU."
        )
    if price["gpu_hour"] is None:
        lines.append("No price is given: set preflight.price_per_gpu_hour.")
    if any(training["speed"] == "assumed" for training in trainings):
        shares = summary["assumptions"]
        milliseconds = {way: 1000 * seconds for way, seconds in shares["layer_seconds"].items()}
        hooks = f"; ZeRO-3's hooks take {1000 * shares['zero3_layer_seconds']:g} ms per layer, forward and backward"
        lines.append(
            f"Assumed, not measured: {100 * shares['training_utilisation']:g} % of the card's arithmetic in training, "
            f"{100 * shares['sampling_utilisation']:g} % of its memory bandwidth in sampling, or "
            f"{milliseconds['transformers']:g} ms per layer and token where that is longer (with all weights on each "
            f"GPU: {milliseconds['graphs']:g} ms, with adapters {milliseconds['graphs_lora']:g} ms; vLLM: "
            f"{milliseconds['vllm']:g} ms){hooks if summary['launch']['mode'] == 'zero3' else ''}; "
            "preflight.measured replaces them."
        )
    return lines


def _prediction(prediction: Mapping[str, Any]) -> list[str]:
    return [
        f"{load['suite']}, protocol {load['protocol']}: {load['prompts']:,} prompts for each of "
        f"{prediction['checkpoints']} checkpoints."
        for load in prediction["prompts"]
    ]


def _arms(summary: Mapping[str, Any]) -> list[str]:
    return summary["evaluation_limits"] + [f"Budgets differ: {line}." for line in summary["unequal_arms"]]


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def table(summaries: Mapping[str, tuple[Sequence[str], Mapping[str, Any]]]) -> str:
    """Return a Markdown table of surveys with a card: name -> (configuration files, survey)."""
    lines = [
        "| configuration | `--configfile` | GPUs | launch | GiB a GPU, SFT / GRPO | GPU-hours, SFT / one experiment |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, (files, summary) in summaries.items():
        sft, *stages = summary["trainings"]
        experiment = [stage for stage in stages if stage["name"] in summary["leading"]]
        peaks = sft["memory_peak"] / GIB, max(stage["memory_peak"] for stage in experiment) / GIB
        hours = sft["gpu_hours"], sum(stage["gpu_hours"] for stage in experiment)
        lines.append(
            f"| {name} | {' '.join(files)} | {summary['launch']['processes']} x {summary['card']['gpu']} "
            f"| {summary['launch']['mode']} | {peaks[0]:.0f} / {peaks[1]:.0f} | {hours[0]:.0f} / {hours[1]:.0f} |"
        )
    return "\n".join(lines) + "\n"
