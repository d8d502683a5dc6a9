"""The words that programs get from the configuration. No rules here."""

import hashlib
import json
import os

from vision_r1.evaluation.protocols import OF_READING


def model_flags(job):
    """Return the flags that every program with a model shares."""
    model = config["model"]
    return configuration.flags(
        {
            "family": model["family"],
            "min_pixels": model["min_pixels"],
            "max_pixels": model["max_pixels"],
            "dtype": model["dtype"],
            "threads": compute(job, "threads"),
        }
    )


def train_flags(job, arm):
    """Return the flags of a training program that tell of the model, and of the adapters that the arm trains."""
    lora = experiments.experiment_config(config, arm)["lora"] or {}
    return model_flags(job) + configuration.flags({f"lora_{key}": value for key, value in lora.items()})


def watch(job, *names):
    """Write a TRL configuration file of section guards, and of keys `names` of section logging; return its path.

    How a training is watched changes no result: its rule knows the path only, so an edit there trains nothing again.
    """
    guards = {f"guard_{name}": bound for name, bound in config["guards"].items()}
    return record(
        f"{RESULTS}/watch/{job}.yaml", yaml.safe_dump(guards | {name: config["logging"][name] for name in names})
    )


def stage_flags(checkpoint):
    """Return what a checkpoint is trained with, as flags."""
    return configuration.flags(experiments.training_values(config, checkpoint))


def reward_flags():
    """Return --criterion CHECKPOINT JSON for each GRPO training behind the report's experiments: what it rewards."""
    chains = [experiments.chain_of(config, arm) for arm in config["report"]["experiments"]]
    words = []
    for checkpoint in dict.fromkeys(checkpoint for chain in chains for checkpoint in chain):
        arm, stage = experiments.split_checkpoint(checkpoint)
        if stage in experiments.STAGES:
            keys = [
                *experiments.experiment_config(config, arm)["reward"],
                *experiments.STAGE_THRESHOLDS,
                "reward_weights",
            ]
            values = experiments.training_values(config, checkpoint)
            words += ["--criterion", checkpoint, json.dumps({key: values[key] for key in keys if key in values})]
    return words


def dataset_flags(names, *keys):
    """Return --dataset NAME PLACE... for each data set; keys are `annotations`, `images` or both."""
    return [word for name in names for word in ["--dataset", name, *(dataset_place(name, key) for key in keys)]]


def source_flags(flag, names):
    """Return `flag KIND NAME FILE IMAGES` for each data set, and its second file where it has one."""
    words = []
    for name in names:
        key = main_file(name)
        kind = "samples" if name in RELEASED else KINDS[key]
        words += [flag, kind, name, dataset_place(name, key), dataset_place(name, "images")]
        words += [dataset_place(name, SECOND[key])] if key in SECOND else []
    return words


def id_space_flags(names):
    spaces = {name: config["datasets"][name].get("id_space") for name in dict.fromkeys(names)}
    return [word for name, space in spaces.items() if space for word in ["--id_space", name, space]]


def expect_flags(name):
    """Return the numbers that a data set must have, and the lock file where it is one that was downloaded."""
    entry = config["datasets"][name]
    words = [word for key, number in entry.get("expect", {}).items() for word in ["--expect", f"{key}={number}"]]
    local = all(isinstance(entry.get(key, ""), str) for key in PLACES) and "released" not in entry
    return words if local else [*words, "--lock", LOCK]


def licence_of(name):
    """Return a data set's licence in words, or that of the archive with its annotations; None where none is stated."""
    entry = config["datasets"][name]
    place = entry.get(main_file(name))
    archive = config["archives"][place["archive"]] if isinstance(place, dict) else {}
    return "made here" if "scenes" in entry else entry.get("licence", archive.get("licence"))


def licence_flags():
    licences = {name: licence_of(name) for name in TRAIN}
    return [word for name, text in licences.items() if text for word in ["--licence", name, text]]


def scene_flags(name):
    scenes = config["datasets"][name]["scenes"]
    seed = [scenes["seed"], config["seed"]] if scenes.get("follow_chain_seed") else scenes["seed"]
    return configuration.flags(
        {"count": scenes["count"], "world": scenes.get("world"), "shift": scenes["shift"], "seed": seed}
    )


def checksum_flags():
    """Return --file or --archive NAME FILE for each input: an archive's manifest knows the checksum of its archive."""
    words = ["--file", "training file", f"{RESULTS}/data/train.jsonl"]
    archives = []
    for name in dict.fromkeys([*TRAIN, *TEST]):
        entry = config["datasets"][name]
        places = [entry[key] for key in PLACES if isinstance(entry.get(key), dict)]
        archives += [place["archive"] for place in places if "path" in place]
        words += ["--file", f"annotations of {name}", dataset_place(name, main_file(name))]
    for archive in dict.fromkeys(archives):
        words += ["--archive", f"archive {archive}", f"results/downloads/{archive}.json"]
    return words


def curation_flags(name=None):
    """Return what a training file is drawn by: section data, or an experiment's."""
    merged = experiments.experiment_config(config, name) if name else config
    draws = [word for draw in mixture.draws_of(merged) for word in [f"--{draw.task}", str(draw.count), *draw.sources]]
    notes = [f"--note={note}" for note in mixture.substitutions(merged)]
    data = {key: value for key, value in merged["data"].items() if key not in ("train", "keep_out", *mixture.TASKS)}
    kept_from = mixture.parts(merged, merged["data"]["train"])
    data["hold_out_from"] = kept_from if kept_from != TRAIN else None
    shared = {key: config["model"][key] for key in ("family", "min_pixels", "max_pixels")}
    shared |= {"seed": config["seed"], "templates": json.dumps(config["templates"])}
    return [*draws, *notes, *configuration.flags({**data, **shared})]


def archive_flags(file):
    """Return where an archive is to be had, and what it must be, by its file name."""
    entry = next(entry for name, entry in config["archives"].items() if archive_file(name) == file)
    return configuration.flags(
        {
            "url": entry["url"],
            "mirror": entry.get("mirrors"),
            "bytes": entry.get("bytes"),
            "md5": entry.get("md5"),
            "sha256": entry.get("sha256"),
        }
    )


def predict_flags(suite):
    """Return what decides a suite's predictions. How they are parsed is for scoring: it predicts nothing again."""
    protocols = {
        name: experiments.merge(
            {"templates": config["templates"]},
            {key: value for key, value in EVALUATION["protocols"][name].items() if key not in OF_READING},
        )
        for name in EVALUATION["suite_protocols"][suite]
    }
    return [
        *model_flags("predict_suite"),
        *configuration.flags({key: EVALUATION[key] for key in ("backend", "batch_size")}),
        *dataset_flags(DATASETS_OF[suite], "annotations", "images"),
        *(word for name, entry in protocols.items() for word in ["--protocol", name, json.dumps(entry)]),
    ]


def reading_flags(suite):
    """Return --protocol NAME JSON for each protocol of a suite: what decides how its answers are scored."""
    words = []
    for name in EVALUATION["suite_protocols"][suite]:
        entry = EVALUATION["protocols"][name]
        reading = {key: entry[key] for key in ("reader", "score", "names") if key in entry}
        words += ["--protocol", name, json.dumps(reading)]
    return words


def anchor_flags(scope):
    stop = ["--stop"] if scope == "gate" and EVALUATION["anchors"] == "stop" else []
    metrics = word_file("check_anchors", metrics_flags(ANCHORED[scope]))
    return [*optional("--model", config["model"]["id"]), metrics, *stop]


def metrics_flags(checkpoints):
    """Return --metrics CHECKPOINT SUITE FILE for each checkpoint and suite."""
    pairs = [(name, suite) for name in checkpoints for suite in SUITES]
    return [word for pair in pairs for word in ["--metrics", *pair, str(RUN.metrics(*pair))]]


def table_flags(name):
    """Return --metrics CHECKPOINT SUITE FILE for what a published table needs, by the published checkpoints' names."""
    return [word for key, file in table_metrics(name).items() for word in ["--metrics", *key, file]]


def word_file(program, words):
    """Return @FILE, which a program reads as these words. A changed word changes the name, and with it the job."""
    text = "\n".join(words) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"@{record(f'{RESULTS}/words/{program}-{digest}.txt', text)}"


def optional(flag, text):
    """Return `flag=text` as one word, so that the text may begin with a dash, or nothing where there is none."""
    return [f"{flag}={text}"] if text else []


def pairs(flag, names, files):
    """Return `flag name file` for each pair, as command line words."""
    return [word for name, file in zip(names, files, strict=True) for word in [flag, name, file]]


def this_command(*words):
    """Return the words that asked for this run, with `words` among them; a target follows: the command of a number."""
    settings = workflow.config_settings
    files = [os.path.relpath(file) for file in settings.configfiles]
    words = ["snakemake", "--cores", "all", *words] + (["--configfile", *files] if files else [])
    if settings.config:
        words += ["--config", *(f"{key}={value}" for key, value in settings.config.items())]
    return [*words, "--"]


def gpus_of_rules():
    """Return --gpus RULE N for each rule."""
    numbers = {rule.name: rule.resources["gpu"].value for rule in workflow.rules if "gpu" in rule.resources}
    return [word for name, number in numbers.items() for word in ["--gpus", name, str(number)]]
