"""The flags that the programs of data, training and prediction get from the configuration: what decides a rerun."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from vision_r1.data import mixture, places
from vision_r1.evaluation.protocols import OF_READING, Reading
from vision_r1.experiments import STAGES, Config, chain_of, experiment_config, merge, reward_of, split_checkpoint
from vision_r1.experiments import training_values as values_of
from vision_r1.files import file_hash
from vision_r1.run_folder import Run

# What was downloaded first, where nobody published a checksum. To be committed.
LOCK = "config/datasets.lock.json"


def of_values(values: Mapping[str, Any]) -> list[str]:
    """Return a section of the configuration as words: null is left out, lists take several words, mappings are JSON."""
    words: list[str] = []
    for key, value in values.items():
        if value is None:
            continue
        words.append(f"--{key}")
        words += map(str, value) if isinstance(value, list) else [_word(value)]
    return words


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping) else str(value)


def of_model(config: Config, job: str) -> list[str]:
    """Return what every program with a model gets; job: its entry in section compute."""
    model = {key: config["model"][key] for key in ("family", "min_pixels", "max_pixels", "dtype")}
    return of_values({**model, "threads": config["compute"][job]["threads"]})


def of_training(config: Config, job: str, arm: str) -> list[str]:
    """Return what a training program gets about the model, and about the adapters that the arm trains."""
    lora = experiment_config(config, arm)["lora"] or {}
    return of_model(config, job) + of_values({f"lora_{key}": value for key, value in lora.items()})


def of_stage(config: Config, checkpoint: str) -> list[str]:
    """Return what a checkpoint is trained with."""
    return of_values(values_of(config, checkpoint))


def files_of_stage(config: Config, checkpoint: str) -> dict[str, str]:
    """Return file -> hash of its content, for the files of accelerate and DeepSpeed that a training is started with."""
    return files_among([*config["compute"]["launch"], *of_stage(config, checkpoint)])


def files_among(words: Iterable[str]) -> dict[str, str]:
    """Return file -> hash of its content, for the words of a command that are files, or end with one: --flag=FILE."""
    named = dict.fromkeys(part for word in words for part in (word, word.partition("=")[2]))
    return {name: file_hash(name) for name in named if os.path.isfile(name)}  # Path.is_file raises for a long text


def of_rewards(config: Config) -> list[str]:
    """Return --criterion CHECKPOINT JSON for each GRPO training behind the report's experiments: what it rewards."""
    chains = [chain_of(config, arm) for arm in config["report"]["experiments"]]
    words = []
    for checkpoint in dict.fromkeys(checkpoint for chain in chains for checkpoint in chain):
        arm, stage = split_checkpoint(checkpoint)
        if stage in STAGES:
            merged, values = experiment_config(config, arm), values_of(config, checkpoint)
            keys = [*reward_of(merged, merged[stage]), "reward_weights"]
            words += ["--criterion", checkpoint, json.dumps({key: values[key] for key in keys if key in values})]
    return words


def of_datasets(run: Run, names: Iterable[str], *keys: str) -> list[str]:
    """Return --dataset NAME PLACE... for each data set; keys are `annotations`, `images` or both."""
    return [word for name in names for word in ["--dataset", name, *(run.place(name, key) for key in keys)]]


def of_sources(run: Run, flag: str, names: Iterable[str]) -> list[str]:
    """Return `flag KIND NAME FILE IMAGES` for each data set, and its second file where it has one."""
    words = []
    for name in names:
        key = places.main_key(run.config, name)
        kind = "samples" if "released" in run.config["datasets"][name] else places.KINDS[key]
        words += [flag, kind, name, run.place(name, key), run.place(name, "images")]
        words += [run.place(name, places.SECOND[key])] if key in places.SECOND else []
    return words


def of_conversion(config: Config, name: str) -> list[str]:
    """Return what convert_annotations.py gets for a data set of another form than COCO's."""
    values = {key: places.given(config, name, key) for key in ("annotations", "images")}
    return of_values({"format": config["datasets"][name]["format"], **values})


def of_id_spaces(config: Config, names: Iterable[str]) -> list[str]:
    """Return --id_space NAME SPACE for each data set whose images are numbered as another's are."""
    spaces = {name: config["datasets"][name].get("id_space") for name in dict.fromkeys(names)}
    return [word for name, space in spaces.items() if space for word in ["--id_space", name, space]]


def of_expectations(config: Config, name: str) -> list[str]:
    """Return the numbers that a data set must have, and the lock file where it is one that was downloaded."""
    expected = config["datasets"][name].get("expect", {})
    words = [word for key, number in expected.items() for word in ["--expect", f"{key}={number}"]]
    return words if places.is_local(config, name) else [*words, "--lock", LOCK]


def of_scenes(config: Config, name: str) -> list[str]:
    """Return what a set of synthetic scenes is drawn with."""
    scenes = config["datasets"][name]["scenes"]
    seed = [scenes["seed"], config["seed"]] if scenes.get("follow_chain_seed") else scenes["seed"]
    return of_values({"count": scenes["count"], "world": scenes.get("world"), "shift": scenes["shift"], "seed": seed})


def of_checksums(run: Run) -> list[str]:
    """Return --file or --archive NAME FILE for each input: an archive's manifest knows the checksum of its archive."""
    names = list(dict.fromkeys([*mixture.training_sources(run.config), *run.tested]))
    files = {f"annotations of {name}": run.place(name, places.main_key(run.config, name)) for name in names}
    archives = places.unpacked_archives(run.config, names)
    words = ["--file", "training file", str(run.train_file())]
    words += [word for text, file in files.items() for word in ["--file", text, file]]
    return words + [word for name in archives for word in ["--archive", f"archive {name}", places.manifest(name)]]


def of_curation(config: Config, experiment: str | None = None) -> list[str]:
    """Return what a training file is drawn by: section data, or an experiment's."""
    merged = experiment_config(config, experiment) if experiment else config
    draws = [word for draw in mixture.draws_of(merged) for word in [f"--{draw.task}", str(draw.count), *draw.sources]]
    notes = [f"--note={note}" for note in mixture.substitutions(merged)]
    data = {key: value for key, value in merged["data"].items() if key not in ("train", "keep_out", *mixture.TASKS)}
    kept_from = mixture.parts(merged, merged["data"]["train"])
    data["hold_out_from"] = kept_from if kept_from != mixture.training_sources(config) else None
    shared = {key: config["model"][key] for key in ("family", "min_pixels", "max_pixels")}
    shared |= {"seed": config["seed"], "templates": json.dumps(config["templates"])}
    return [*draws, *notes, *of_values({**data, **shared})]


def of_archive(config: Config, file: str) -> list[str]:
    """Return an archive's addresses, and its expected size and checksums, by its file name.

    Where the hash of its files is known, the archive's own bytes are not locked: a server may pack the same files
    differently from day to day.
    """
    entry = next(entry for name, entry in config["archives"].items() if places.archive_file(config, name) == file)
    sums = {key: entry.get(key) for key in ("bytes", "md5", "sha256")}
    lock = None if "content_sha256" in entry else LOCK
    return of_values({"url": entry["url"], "mirror": entry.get("mirrors"), **sums, "lock": lock})


def of_content(config: Config, archive: str) -> list[str]:
    """Return the hash that the files of an archive must have, where the register knows it."""
    return of_values({"content_sha256": config["archives"][archive].get("content_sha256")})


def of_prediction(run: Run, suite: str) -> list[str]:
    """Return what decides a suite's predictions. How they are parsed is for scoring: it predicts nothing again."""
    config, evaluation = run.config, run.config["evaluation"]
    protocols = {
        name: {key: value for key, value in evaluation["protocols"][name].items() if key not in OF_READING}
        for name in evaluation["suite_protocols"][suite]
    }
    words = [*of_model(config, "predict_suite")]
    words += of_values({key: evaluation[key] for key in ("backend", "batch_size")})
    words += of_datasets(run, evaluation["suites"][suite], "annotations", "images")
    for name, entry in protocols.items():
        words += ["--protocol", name, json.dumps(merge({"templates": config["templates"]}, entry))]
    return words


def of_scoring(run: Run, suite: str) -> list[str]:
    """Return what a suite's answers are scored by: how they are read, and the data sets' annotations."""
    evaluation = run.config["evaluation"]
    words = of_values({key: evaluation[key] for key in ("score_policy", "resamples")})
    words += of_datasets(run, evaluation["suites"][suite], "annotations")
    for name in evaluation["suite_protocols"][suite]:
        entry = evaluation["protocols"][name]
        reading = {key.name: entry[key.name] for key in fields(Reading) if key.name in entry}
        words += ["--protocol", name, json.dumps(reading)]
    return words
