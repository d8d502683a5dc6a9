"""The whole survey of a run, as plain values: what page.py prints and the JSON file holds."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vision_r1 import configuration
from vision_r1.data.places import manifest
from vision_r1.evaluation.answers import BACKENDS
from vision_r1.evaluation.protocols import used_protocols
from vision_r1.experiments import STAGES, chain_of, checkpoints_of, experiment_config, split_checkpoint, training_values
from vision_r1.families import Family, family
from vision_r1.files import read_jsonl
from vision_r1.launcher.modes import MODES, SPLIT_WEIGHTS, mode_of, processes
from vision_r1.objectives import completion_length
from vision_r1.preflight.architecture import Architecture, find_architecture
from vision_r1.preflight.batches import Batches, training_batches, unequal
from vision_r1.preflight.cost import (
    LAYER_SECONDS,
    ZERO3_LAYER_SECONDS,
    Speed,
    gpu_hours,
    seconds_per_sample,
    seconds_per_step,
)
from vision_r1.preflight.lengths import AnswerSize, Lengths, answer_size, lengths_of
from vision_r1.preflight.memory import BYTES, GIB, Setting, Vllm, checkpoint_bytes, estimate, peak
from vision_r1.preflight.pixels import check_checkpoints, evaluation_limits
from vision_r1.preflight.prediction import loads_of, prediction_seconds
from vision_r1.preflight.processor import find_processor, with_lengths
from vision_r1.run_folder import Run
from vision_r1.training.dataset import COLUMNS, read_rows

# Trainer states on disk at most: two are kept, and a third is being written.
STATES_KEPT = 3


def survey(run: Run) -> dict[str, Any]:
    """Return what is known of a run before it runs. Reads the training file, checkpoints and annotations that exist.

    Raises UserError for what can't work: a base model that can't be trained from, a row without its image, checkpoints
    that were trained differently. What would only go badly is listed under `problems`.
    """
    config, train_file, models = run.config, run.train_file(), run.folder / "models"
    model = config["model"]
    limits = family(model["family"]), model["min_pixels"], model["max_pixels"]
    processor = find_processor(config, models)
    rows, notes = _rows(train_file, *limits)
    if processor is None:
        notes.append(f"The processor of {model['id']} is not here yet: whether it loads shows once it is fetched.")
    elif rows:
        rows, told = with_lengths(rows, processor, limits[0])
        notes += told
    if check_checkpoints(models, limits[0]) not in (None, limits[1:]):
        notes.append("The existing checkpoints were trained under other pixel limits: train them again.")
    if config["grpo"].get("use_vllm") and config["grpo"].get("vllm_mode") == "server":
        notes.append(
            "The GPUs of the vLLM server are not counted; it is assumed to be as fast as vLLM on the training GPUs."
        )
    size = answer_size(config, processor, rows)
    lengths = lengths_of(config, rows, size)
    batches = training_batches(config, lambda _: lengths.rows, config["report"]["experiments"])
    found, source = find_architecture(config, models / "base/model")
    started = processes(config, "train_grpo")
    mode = mode_of(config["compute"]["launch"], started)
    summary: dict[str, Any] = {
        "run": configuration.run_name(config),
        "model": {"id": model["id"] or "made here", "sizes_from": source, "dtype": model["dtype"]},
        "launch": {"mode": mode, "in_words": MODES[mode], "processes": started},
        "train_file": {"path": str(train_file), "rows": lengths.rows, "there": rows is not None},
        "lengths": {key: value for key, value in asdict(lengths).items() if key != "answers"},
        "answer_size": asdict(size),
        "dropped_over": {key: config["data"][key] for key in ("max_prompt_tokens", "max_answer_tokens")},
        "leading": chain_of(config, config["report"]["experiments"][0]),
        "trainings": [training_estimate(config, training, lengths, size, found, mode) for training in batches],
        "training_seeds": len(config["report"]["training_seeds"]),
        "unequal_arms": unequal(config, batches),
        "evaluation_limits": evaluation_limits(config),
        "price": {"gpu_hour": config["preflight"]["price_per_gpu_hour"], "currency": config["preflight"]["currency"]},
        "assumptions": {key: config["preflight"][key] for key in ("training_utilisation", "sampling_utilisation")}
        | {"layer_seconds": LAYER_SECONDS, "zero3_layer_seconds": ZERO3_LAYER_SECONDS},
        "card": {key: config["preflight"][key] for key in ("gpu", "gpu_memory_gib", "gpu_tflops", "gpu_bandwidth_gb")},
    }
    if found:
        summary["model"] |= {
            "parameters": found.parameters,
            "vision_parameters": found.vision_parameters,
            "trained": found.lora_parameters(config["lora"]["r"]) if config["lora"] else found.parameters,
        }
    summary["with_zero2"] = None
    if mode in SPLIT_WEIGHTS:
        others = [training_estimate(config, training, lengths, size, found, "zero2") for training in batches]
        summary["with_zero2"] = _if_better(others, summary["trainings"], config["preflight"]["gpu_memory_gib"])
    summary["prediction"] = _prediction(run, lengths, size, found)
    summary["disk"] = _disk(run, found, summary)
    summary["unknown"] = notes + _unknown(summary, lengths, found, source)
    summary["problems"] = _problems(config, summary)
    return summary


def _rows(
    train_file: str | Path, model_family: Family, min_pixels: int, max_pixels: int
) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """Return the checked rows, None where there are none for this configuration, and notes for the reader."""
    if not Path(train_file).is_file():
        return None, []
    first = next(iter(read_jsonl(train_file)), None)
    if isinstance(first, dict):
        if not COLUMNS <= first.keys():
            return None, ["The existing training file was written by another version: make it again."]
        size = model_family.input_size(first["width"], first["height"], min_pixels, max_pixels)
        if (first["frame"], first["input_width"], first["input_height"]) != (model_family.frame, *size):
            return None, ["The existing training file is for other pixel limits or another family: make it again."]
    return read_rows(train_file, model_family, min_pixels, max_pixels), []


def setting_of(config: Mapping[str, Any], values: Mapping[str, Any], lengths: Lengths, mode: str) -> Setting:
    """Return what memory and time of a training depend on; `values` are its TRL keys."""
    limit = completion_limit(values, lengths)
    return Setting(
        mode=mode,
        dtype=config["model"]["dtype"],
        gradient_checkpointing=values.get("gradient_checkpointing", True),
        image_tokens=lengths.image,
        text_tokens=lengths.text,
        answer_tokens=limit or lengths.answer,
        reference=values.get("beta", 0.0) > 0,
        lora_rank=config["lora"]["r"] if config["lora"] else 0,
        autocast=bool(values.get("bf16", True) or values.get("fp16")),
        vllm=vllm_of(values, config["preflight"]["gpu_memory_gib"] or 0) if values.get("use_vllm") else None,
    )


def vllm_of(values: Mapping[str, Any], card: float) -> Vllm:
    """Return how vLLM samples for a training with these TRL keys, on cards of `card` GiB."""
    if values.get("vllm_mode") == "server":
        return Vllm()
    return Vllm(
        round(values.get("vllm_gpu_memory_utilization", 0.3) * card * GIB),
        values.get("vllm_enable_sleep_mode", False),
        values.get("vllm_tensor_parallel_size", 1),
    )


def completion_limit(values: Mapping[str, Any], lengths: Lengths) -> int | None:
    """Return the longest completion of a GRPO stage in tokens, None for SFT."""
    if "num_generations" not in values:
        return None
    if values.get("completion_room"):
        return math.ceil(values["completion_room"] * lengths.answer)
    return completion_length(values)


def training_estimate(
    config: Mapping[str, Any],
    batches: Batches,
    lengths: Lengths,
    size: AnswerSize,
    model: Architecture | None,
    mode: str,
) -> dict[str, Any]:
    """Return a training's batches and, where they can be known, its checkpoints, memory, seconds and GPU-hours."""
    values = training_values(config, batches.name)
    setting = setting_of(experiment_config(config, split_checkpoint(batches.name)[0]), values, lengths, mode)
    limit = completion_limit(values, lengths)
    result: dict[str, Any] = {
        "name": batches.name,
        **{key: getattr(batches, key) for key in ("steps", "batch", "prompts", "processes", "samples_seen", "epochs")},
        "in_words": batches.in_words(),
        "save_steps": values.get("save_steps", 500),  # TRL's default
        "completion_limit": limit,
        "objects_fit": size.objects(limit) if limit else None,
        "answers_over_limit": lengths.longer_than(limit) if limit else 0.0,
    }
    if model is None:
        return result
    card = config["preflight"]
    result["checkpoint_bytes"] = checkpoint_bytes(model, setting)
    result["checkpoints"] = math.ceil(batches.steps / result["save_steps"])  # the last step's is among them
    if card["gpu_memory_gib"]:
        parts = estimate(model, batches, setting)
        result |= {"memory": parts, "memory_peak": peak(parts)}
    measured = seconds_per_sample(card["measured"]).get("sft" if limit is None else "grpo")
    if measured is not None:
        result |= {"speed": "measured", "gpu_hours": batches.samples_seen * measured / 3600}
    elif card["gpu_tflops"] and card["gpu_bandwidth_gb"]:
        mean = lengths.mean_prompt, min(lengths.mean_answer, limit or lengths.mean_answer)
        # A policy that can answer stops where right answers end, so a batch takes its longest answer, not the limit.
        answer = min(setting.answer_tokens, lengths.answer)
        usual = replace(setting, image_tokens=round(lengths.mean_image), answer_tokens=answer)
        sampling, training = seconds_per_step(model, batches, usual, mean, Speed.of(card))
        result |= {
            "speed": "assumed",
            "sampling_seconds": sampling,
            "training_seconds": training,
            "gpu_hours": gpu_hours(batches, sampling + training),
        }
    return result


def _if_better(
    zero2: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], card: float | None
) -> dict[str, float] | None:
    """Return GPU-hours of trainings under ZeRO-2 and now, and ZeRO-2's memory; None unless it fits and is faster."""
    if not card or any(training.get("speed") != "assumed" for training in zero2):
        return None
    hours, hours_now = (sum(training["gpu_hours"] for training in trainings) for trainings in (zero2, now))
    needed = max(training["memory_peak"] for training in zero2)
    if needed > card * GIB or hours >= hours_now:
        return None
    return {"gpu_hours": hours, "gpu_hours_now": hours_now, "memory_peak": needed}


def _prediction(run: Run, lengths: Lengths, size: AnswerSize, model: Architecture | None) -> dict[str, Any]:
    config, evaluation = run.config, run.config["evaluation"]
    limits = {name: evaluation["protocols"][name]["max_new_tokens"] for name in used_protocols(config)}
    loads, missing = loads_of(config, {name: run.place(name, "annotations") for name in run.tested})
    seeds, card = len(config["report"]["training_seeds"]), config["preflight"]
    arms = len(checkpoints_of(config, config["report"]["experiments"], [0])) - 1
    result: dict[str, Any] = {
        "checkpoints": 1 + seeds * arms,
        "suites_not_here": missing,
        "protocols": [
            {"protocol": name, "max_new_tokens": limit, "objects_fit": size.objects(limit)}
            for name, limit in limits.items()
        ],
        "prompts": [{"suite": load.suite, "protocol": load.protocol, "prompts": load.prompts} for load in loads],
    }
    if model and card["gpu_tflops"] and card["gpu_bandwidth_gb"] and loads:
        batch_size = max(evaluation["batch_size"], BACKENDS[evaluation["backend"]])
        how = batch_size, lengths, Speed.of(card), evaluation["backend"]
        seconds = sum(prediction_seconds(model, load, *how) for load in loads)
        result["gpu_hours"] = result["checkpoints"] * seconds / 3600
    return result


def _disk(run: Run, model: Architecture | None, summary: Mapping[str, Any]) -> dict[str, int]:
    config = run.config
    files = [
        file for name in {*run.trained_on, *run.kept_out, *run.tested} for file in config["datasets"][name].values()
    ]
    archives = {file["archive"] for file in files if isinstance(file, Mapping) and "archive" in file}
    sizes = [config["archives"][name].get("bytes") for name in archives if not Path(manifest(name)).is_file()]
    disk = {
        "archives": sum(size or 0 for size in sizes),
        "archives_of_unknown_size": sizes.count(None),
        "free_here": shutil.disk_usage(".").free,
    }
    if model:
        weights = BYTES[config["model"]["dtype"]] * model.parameters
        seeds = len(config["report"]["training_seeds"])
        disk["models"] = weights * (1 + seeds * len(summary["trainings"]))
        disk["chains"] = seeds * sum(
            training["checkpoint_bytes"] for training in summary["trainings"] if _continued(config, training["name"])
        )
        written = sum(training["checkpoints"] * training["checkpoint_bytes"] for training in summary["trainings"])
        disk["written"] = seeds * written
        disk["states"] = STATES_KEPT * max(training["checkpoint_bytes"] for training in summary["trainings"])
    return disk


def _continued(config: Mapping[str, Any], training: str) -> bool:
    """Tell whether a training's last trainer checkpoint is kept for the stage that resumes from it."""
    arm, stage = split_checkpoint(training)
    return stage == STAGES[0] and experiment_config(config, arm)["grpo"]["refinement"] == "continuous"


def _unknown(summary: Mapping[str, Any], lengths: Lengths, model: Architecture | None, source: str) -> list[str]:
    lines, missing = [], summary["prediction"]["suites_not_here"]
    if not summary["train_file"]["there"]:
        lines.append("The training file doesn't exist yet: rows are as requested, lengths are upper bounds.")
    elif not lengths.counted:
        lines.append("The training file has no token counts: lengths are upper bounds.")
    if model is None:
        lines.append(f"Memory, disk and hours: {source}.")
    elif not summary["card"]["gpu"]:
        lines.append("Memory of a card and hours: section preflight names no card.")
    if missing:
        lines.append(f"Prediction of {', '.join(missing)} is not in the hours: annotations are not here yet.")
    return lines


def _problems(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    problems, card, grpo = [], config["preflight"]["gpu_memory_gib"], config["grpo"]
    lengths, room = summary["lengths"], grpo.get("vllm_max_model_length")
    colocated = vllm_of(grpo, card or 0) if grpo.get("use_vllm") and grpo.get("vllm_mode") != "server" else None
    needed = (
        lengths["image"] + lengths["text"] + max(training["completion_limit"] or 0 for training in summary["trainings"])
    )
    if colocated and room and needed > room:
        problems.append(
            f"grpo.vllm_max_model_length: {room} tokens, but the longest prompt and completion are {needed} together"
        )
    weights = BYTES[config["model"]["dtype"]] * summary["model"].get("parameters", 0)
    if colocated and card and colocated.bytes < weights / colocated.together:
        problems.append(
            f"grpo.vllm_gpu_memory_utilization: {colocated.bytes / GIB:.1f} GiB are vLLM's share of a GPU, its weights "
            f"are {weights / colocated.together / GIB:.1f} GiB there; raise it or vllm_tensor_parallel_size"
        )
    for training in summary["trainings"]:
        gib = training.get("memory_peak", 0) / GIB
        if card and gib > card:
            problems.append(
                f"{training['name']} needs about {gib:.1f} GiB on each GPU, the card has {card:g}: give smaller "
                "per_device_train_batch_size or steps_per_generation, more GPUs, ZeRO-3, or lora"
            )
    arms = dict.fromkeys(split_checkpoint(training["name"])[0] for training in summary["trainings"])
    adapted = [arm for arm in arms if experiment_config(config, arm)["lora"]]
    if whole := [arm for arm in arms if arm not in adapted]:
        if config["model"]["dtype"] == "bfloat16" and summary["launch"]["mode"] in ("single", "ddp"):
            problems.append(
                f"model.dtype ({', '.join(whole)}): weights in bfloat16 without a float32 copy can't take up updates "
                "as small as the learning rate; give float32, or launch with ZeRO or FSDP"
            )
    if adapted and summary["launch"]["mode"] in SPLIT_WEIGHTS:
        problems.append(
            f"lora ({', '.join(adapted)}): adapters can't be merged while weights are split; launch with DDP or "
            "ZeRO-2, or one process"
        )
    return problems
