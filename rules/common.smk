"""Names and functions that the rules share. No rules here."""

import json
import os
import shlex
import sys
from pathlib import Path

import yaml

SCRIPTS = Path(workflow.basedir) / "workflow/scripts"
sys.path.insert(0, str(SCRIPTS))
# Jobs start `python`: this environment's, unless conda puts its own in front.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH')}")

from vision_r1 import configuration
from vision_r1.files import UserError, write_text
from vision_r1.report.style import FIGURES
from vision_r1.stamps import code_stamp

try:
    configuration.check(config, yaml.safe_load((Path(workflow.basedir) / "config/schema.yaml").read_text()))
except UserError as error:
    sys.exit(f"error: {error}")


RESULTS = f"results/{configuration.run_name(config)}"
EVALUATION = config["evaluation"]
SUITES = {suite: EVALUATION["suites"][suite] for suite in config["report"]["suites"]}
SFT_ARMS = [configuration.with_training_seed("sft", seed) for seed in config["report"]["training_seeds"]]
GRPO_ARMS = [
    configuration.with_training_seed(name, seed)
    for name in config["report"]["experiments"]
    for seed in config["report"]["training_seeds"]
]
CHECKPOINTS = ["base", *SFT_ARMS, *(f"{arm}/{stage}" for arm in GRPO_ARMS for stage in configuration.STAGES)]
METRICS = [f"{RESULTS}/metrics/{checkpoint}/{suite}.json" for checkpoint in CHECKPOINTS for suite in SUITES]

if config["model"]["source"] == "folder" and not os.path.isdir(config["model"]["id"]):
    sys.exit(f"error: config: model.id: no such folder {config['model']['id']!r}")
for name in sorted({*config["data"]["train"], *(name for names in SUITES.values() for name in names)}):
    for key, place in config["datasets"][name].items():
        if isinstance(place, str) and not os.path.exists(place):
            sys.exit(
                f"error: config: datasets.{name}.{key}: no such path {place!r}; name a folder with data in COCO format"
            )

EXPERIMENT_PATTERN = rf"(?:{'|'.join(config['experiments'])})(?:_s[1-9]\d*)?"
SFT_PATTERN = r"sft(?:_s[1-9]\d*)?"


wildcard_constraints:
    experiment=EXPERIMENT_PATTERN,
    sft=SFT_PATTERN,
    checkpoint=rf"base|{SFT_PATTERN}|{EXPERIMENT_PATTERN}/(?:{'|'.join(configuration.STAGES)})",
    suite="|".join(SUITES),
    dataset="|".join(config["datasets"]),
    archive="|".join(config["archives"]),


def record(path, text):
    """Write text where it differs from what is there, so that an unchanged file keeps its time."""
    if not os.path.exists(path) or Path(path).read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path


def code(script):
    """Return the code stamp of a script, an input that changes when the code's meaning does.

    Frozen, it stays what it was, and not even its time counts.
    """
    stamp = f"{RESULTS}/code/{script}.txt"
    if config["freeze_code"] and os.path.exists(stamp):
        return ancient(stamp)
    return record(stamp, code_stamp(SCRIPTS / script))


def compute(job, key):
    """Return what section compute asks for, e.g. compute("train_grpo", "threads")."""
    return config["compute"][job][key]


def experiments(refinement):
    """Return a pattern for the experiments whose stage 2 follows stage 1 in this way; it may match nothing."""
    names = configuration.of_refinement(config, refinement)
    return rf"(?:{'|'.join(names)})(?:_s[1-9]\d*)?" if names else "(?!)"


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


def watch(job, *names):
    """Write a TRL configuration file of section guards, and of keys `names` of section logging; return its path.

    How a training is watched changes no result: its rule knows the path only, so an edit there trains nothing again.
    """
    guards = {f"guard_{name}": bound for name, bound in config["guards"].items()}
    return record(
        f"{RESULTS}/watch/{job}.yaml", yaml.safe_dump(guards | {name: config["logging"][name] for name in names})
    )


def sft_flags(wildcards):
    return configuration.flags({**config["sft"], "seed": configuration.seed_of(config, wildcards.sft, "sft")})


def grpo_flags(stage):
    """Return a function of wildcards: the experiment's reward, GRPO and stage sections as flags."""
    return lambda wildcards: configuration.flags(configuration.grpo_values(config, wildcards.experiment, stage))


def init_model(stage):
    """Return a function of wildcards: the model folder that the stage starts from."""
    return lambda wildcards: model_of(configuration.parent_checkpoint(config, wildcards.experiment, stage))


def reference_model(stage):
    """Return a function of wildcards: the model folder that the KL term holds on to."""
    return lambda wildcards: model_of(configuration.reference_checkpoint(config, wildcards.experiment, stage))


def model_of(checkpoint):
    return f"{RESULTS}/models/{checkpoint}/model"


def dataset_place(name, key):
    """Return the path of a data set's `annotations` file or `images` folder."""
    entry = config["datasets"][name]
    if "scenes" in entry:
        return f"{RESULTS}/data/scenes/{name}/{'annotations.json' if key == 'annotations' else 'images'}"
    place = entry[key]
    return place if isinstance(place, str) else f"results/downloads/{place['archive']}/{place['path']}"


def dataset_files(name):
    """Return the files that must exist before a data set can be read."""
    entry = config["datasets"][name]
    places = [entry.get("annotations"), entry.get("images")]
    archives = [f"results/downloads/{place['archive']}.json" for place in places if isinstance(place, dict)]
    return archives or [dataset_place(name, "annotations"), dataset_place(name, "images")]


def dataset_flags(names, *keys):
    """Return --dataset NAME PLACE... for each data set; keys are `annotations`, `images` or both."""
    return [word for name in names for word in ["--dataset", name, *(dataset_place(name, key) for key in keys)]]


def files_of(names):
    return sorted({file for name in names for file in dataset_files(name)})


def scene_flags(name):
    scenes = config["datasets"][name]["scenes"]
    seed = [scenes["seed"], config["seed"]] if scenes.get("follow_chain_seed") else scenes["seed"]
    return configuration.flags({"count": scenes["count"], "shift": scenes["shift"], "seed": seed})


def curation_flags():
    data, model = dict(config["data"]), config["model"]
    names = data.pop("train")
    shared = {key: model[key] for key in ("family", "min_pixels", "max_pixels")}
    return dataset_flags(names, "annotations", "images") + configuration.flags(
        {**data, **shared, "seed": config["seed"]}
    )


def archive_flags(name):
    entry = config["archives"][name]
    return configuration.flags(
        {
            "url": entry["url"],
            "mirror": entry.get("mirrors"),
            "bytes": entry.get("bytes"),
            "md5": entry.get("md5"),
            "sha256": entry.get("sha256"),
        }
    )


def protocol_flags(suite):
    return [
        word
        for name in EVALUATION["suite_protocols"][suite]
        for word in ["--protocol", name, json.dumps(EVALUATION["protocols"][name])]
    ]


RESOLVED_CONFIG = record(f"{RESULTS}/config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
REPORT = f"{RESULTS}/report/index.html"
# A base model that was fetched has no history.
WITH_HISTORY = CHECKPOINTS if config["model"]["source"] == "made" else CHECKPOINTS[1:]
# The gallery compares the base model, the SFT arm and where the leading experiment ends, on the first suite.
GALLERY = ["base", SFT_ARMS[0], f"{GRPO_ARMS[0]}/{configuration.STAGES[-1]}"]
GALLERY_SUITE = next(iter(SUITES))


def of_checkpoints(checkpoints, file):
    return [f"{RESULTS}/models/{checkpoint}/{file}" for checkpoint in checkpoints]


def metrics_flags():
    return [
        word
        for checkpoint in CHECKPOINTS
        for suite in SUITES
        for word in ["--metrics", checkpoint, suite, f"{RESULTS}/metrics/{checkpoint}/{suite}.json"]
    ]


def optional(flag, text):
    """Return `flag=text` as one word, so that the text may begin with a dash, or nothing where there is none."""
    return [f"{flag}={text}"] if text else []


def pairs(flag, names, files):
    """Return `flag name file` for each pair, as command line words."""
    return [word for name, file in zip(names, files, strict=True) for word in [flag, name, file]]


def this_command():
    """Return how this run was asked for, so that the report can name the command behind each number."""
    settings = workflow.config_settings
    files = [os.path.relpath(file) for file in settings.configfiles]
    words = ["snakemake", "--cores", "all"] + (["--configfile", *files] if files else [])
    if settings.config:
        words += ["--config", *(f"{key}={value}" for key, value in settings.config.items())]
    return shlex.join(words) + (" --" if files or settings.config else "")
