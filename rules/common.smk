"""Names and functions that the rules share. No rules here."""

import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import yaml

SCRIPTS = Path(workflow.basedir) / "workflow/scripts"
sys.path.insert(0, str(SCRIPTS))
# Jobs start `python`: this environment's, unless conda puts its own in front.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH')}")
# launch_job.py has to know whether a job has an allocation of its own, which only Snakemake knows.
if workflow.remote_exec:
    os.environ.update(VISION_R1_SENT_BY_EXECUTOR="1")

from vision_r1 import configuration
from vision_r1.evaluation.protocols import OF_SCORING
from vision_r1.files import UserError, write_text
from vision_r1.report.style import FIGURES
from vision_r1.stamps import code_stamp

try:
    configuration.check(config, yaml.safe_load((Path(workflow.basedir) / "config/schema.yaml").read_text()))
except UserError as error:
    sys.exit(f"error: {error}")


RESULTS = f"results/{configuration.run_name(config)}"
EVALUATION = config["evaluation"]
DATASETS_OF = EVALUATION["suites"]  # any of them can be asked for; the report shows SUITES
SUITES = {suite: DATASETS_OF[suite] for suite in config["report"]["suites"]}
SFT_ARMS = [configuration.with_training_seed("sft", seed) for seed in config["report"]["training_seeds"]]
GRPO_ARMS = [
    configuration.with_training_seed(name, seed)
    for name in config["report"]["experiments"]
    for seed in config["report"]["training_seeds"]
]
CHECKPOINTS = ["base", *SFT_ARMS, *(f"{arm}/{stage}" for arm in GRPO_ARMS for stage in configuration.STAGES)]


def metrics_files(checkpoints):
    return [f"{RESULTS}/metrics/{checkpoint}/{suite}.json" for checkpoint in checkpoints for suite in SUITES]


METRICS = metrics_files(CHECKPOINTS)
RESAMPLES = [file.replace(".json", ".resamples.npz") for file in METRICS]
# Parts of a prediction that jobs of their own answer first.
SHARDS = [
    f"<results>/predictions/{{checkpoint}}/{{suite}}.{place}of{EVALUATION['shards']}.done"
    for place in range(1, EVALUATION["shards"] + 1)
    if EVALUATION["shards"] > 1
]
# Checkpoints whose numbers are set beside published ones. What GRPO waits for is made once: a later score of the base
# model must not train anything again (an ancient() input won't do: Snakemake forgets other reasons downstream of it).
ANCHORS_GATE = [] if EVALUATION["anchors"] == "none" else [f"{RESULTS}/anchors/gate.json"]
ANCHORED = {"base": ["base"], "all": CHECKPOINTS}
if not all(map(os.path.exists, ANCHORS_GATE)):
    ANCHORED["gate"] = ["base"]
if config["model"]["source"] == "folder" and not os.path.isdir(config["model"]["id"]):
    sys.exit(f"error: config: model.id: no such folder {config['model']['id']!r}")
TRAIN = config["data"]["train"]
TEST = sorted({name for names in SUITES.values() for name in names})
# Images of these must not be trained on. The selection split is held out of training by curation itself.
BENCHMARKS = [name for name in TEST if "selection" not in config["datasets"][name]]
PLACES = ("annotations", "expressions", "images")
for name in sorted({*TRAIN, *TEST}):
    for key in PLACES:
        place = config["datasets"][name].get(key)
        if isinstance(place, str) and not os.path.exists(place):
            sys.exit(
                f"error: config: datasets.{name}.{key}: no such path {place!r}; name a folder with data in COCO format"
            )
# What was downloaded first, where nobody published a checksum. To be committed.
LOCK = "config/datasets.lock.json"
RELEASED = [name for name, entry in config["datasets"].items() if "released" in entry]

EXPERIMENT_PATTERN = rf"(?:{'|'.join(config['experiments'])})(?:_s[1-9]\d*)?"
SFT_PATTERN = r"sft(?:_s[1-9]\d*)?"


wildcard_constraints:
    experiment=EXPERIMENT_PATTERN,
    sft=SFT_PATTERN,
    checkpoint=rf"base|{SFT_PATTERN}|{EXPERIMENT_PATTERN}/(?:{'|'.join(configuration.STAGES)})",
    suite="|".join(DATASETS_OF),
    shard=r"\d+",
    shards=r"\d+",
    scope="|".join(ANCHORED),
    dataset="|".join(config["datasets"]),
    archive="|".join(config["archives"]),
    kind=r"zip|tar\.gz",
    released="|".join(RELEASED),


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


def more(amount):
    """Return a function of a job's attempt: a retry asks for half as much more, at most for twice `amount`.

    Trainings and predictions go on from where they were stopped, so their runtime stays.
    """
    return lambda wildcards, attempt: round(amount * min(1 + (attempt - 1) / 2, 2))


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
            **{f"lora_{key}": value for key, value in (config["lora"] or {}).items() if job.startswith("train")},
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


def arm_flags():
    """Return --arm CHECKPOINT WORDS for each checkpoint: the words that its training, or the base's prediction, gets."""
    train = ["--train_file", f"{RESULTS}/data/train.jsonl"]
    words = {"base": model_flags("predict_suite")}
    for arm in SFT_ARMS:
        words[arm] = train + model_flags("train_sft") + sft_flags(SimpleNamespace(sft=arm))
    for arm in GRPO_ARMS:
        for stage in configuration.STAGES:
            flags = grpo_flags(stage)(SimpleNamespace(experiment=arm))
            words[f"{arm}/{stage}"] = train + model_flags("train_grpo") + flags
    return [word for name, flags in words.items() for word in ["--arm", name, json.dumps(flags)]]


def init_model(stage):
    """Return a function of wildcards: the model folder that the stage starts from."""
    return lambda wildcards: model_of(configuration.parent_checkpoint(config, wildcards.experiment, stage))


def reference_model(stage):
    """Return a function of wildcards: the model folder that the KL term holds on to."""
    return lambda wildcards: model_of(configuration.reference_checkpoint(config, wildcards.experiment, stage))


def model_of(checkpoint):
    return f"{RESULTS}/models/{checkpoint}/model"


def archive_file(name):
    """Return where an archive lies; a file that is put there by hand is verified and used."""
    kind = "tar.gz" if config["archives"][name]["url"].endswith(".tar.gz") else "zip"
    return f"results/downloads/{name}.{kind}"


def dataset_place(name, key):
    """Return the path of a data set's `annotations` (or expressions, or samples) file or `images` folder."""
    entry = config["datasets"][name]
    if "scenes" in entry:
        return f"{RESULTS}/data/scenes/{name}/{'annotations.json' if key == 'annotations' else 'images'}"
    if "selection" in entry:
        return f"{RESULTS}/data/selection.json" if key == "annotations" else "."
    if "released" in entry:
        return f"results/downloads/{name}/{'samples.jsonl' if key == 'annotations' else 'images'}"
    place = entry["expressions" if key == "annotations" and "expressions" in entry else key]
    return place if isinstance(place, str) else f"results/downloads/{place['archive']}/{place['path']}"


def source_files(name):
    """Return the files that a data set is made of, or the manifests of the archives that hold them."""
    entry = config["datasets"][name]
    archives = [entry[key]["archive"] for key in PLACES if isinstance(entry.get(key), dict)]
    places = [] if "selection" in entry else [dataset_place(name, "images")]
    if archives:
        places = [entry[key] for key in PLACES if isinstance(entry.get(key), str)]
        return [f"results/downloads/{archive}.json" for archive in dict.fromkeys(archives)] + places
    return [dataset_place(name, "annotations"), *places]


def dataset_files(name):
    """Return the files that must exist before a data set can be read: its own, and the mark that they were checked."""
    made = {"scenes", "selection"} & config["datasets"][name].keys()
    return source_files(name) + ([] if made else [f"{RESULTS}/data/checked/{name}.json"])


def dataset_flags(names, *keys):
    """Return --dataset NAME PLACE... for each data set; keys are `annotations`, `images` or both."""
    return [word for name in names for word in ["--dataset", name, *(dataset_place(name, key) for key in keys)]]


def source_flags(flag, names):
    """Return `flag KIND NAME FILE IMAGES` for each data set."""
    kinds = {"expressions": "expressions", "released": "samples"}
    words = []
    for name in names:
        kind = next((kinds[key] for key in kinds if key in config["datasets"][name]), "coco")
        words += [flag, kind, name, dataset_place(name, "annotations"), dataset_place(name, "images")]
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


def licence_flags():
    made = "made here"
    licences = {
        name: made if "scenes" in config["datasets"][name] else config["datasets"][name].get("licence")
        for name in TRAIN
    }
    return [word for name, text in licences.items() if text for word in ["--licence", name, text]]


def files_of(names):
    return sorted({file for name in names for file in dataset_files(name)})


def scene_flags(name):
    scenes = config["datasets"][name]["scenes"]
    seed = [scenes["seed"], config["seed"]] if scenes.get("follow_chain_seed") else scenes["seed"]
    return configuration.flags({"count": scenes["count"], "shift": scenes["shift"], "seed": seed})


def curation_flags():
    data, model = dict(config["data"]), config["model"]
    del data["train"]
    shared = {key: model[key] for key in ("family", "min_pixels", "max_pixels")}
    return configuration.flags({**data, **shared, "seed": config["seed"]})


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


def predict_flags(suite):
    """Return what decides a suite's predictions. How they are parsed is for scoring: it predicts nothing again."""
    protocols = {
        name: {key: value for key, value in EVALUATION["protocols"][name].items() if key not in OF_SCORING}
        for name in EVALUATION["suite_protocols"][suite]
    }
    return [
        *model_flags("predict_suite"),
        *configuration.flags({key: EVALUATION[key] for key in ("backend", "batch_size")}),
        *dataset_flags(DATASETS_OF[suite], "annotations", "images"),
        *(word for name, entry in protocols.items() for word in ["--protocol", name, json.dumps(entry)]),
    ]


def parser_flags(suite):
    """Return --parser PROTOCOL PARSER for each protocol of a suite."""
    names = EVALUATION["suite_protocols"][suite]
    return [
        word for name in names for word in ["--parser", name, EVALUATION["protocols"][name].get("parser", "strict")]
    ]


def anchor_flags(scope):
    stop = ["--stop"] if scope == "gate" and EVALUATION["anchors"] == "stop" else []
    return optional("--model", config["model"]["id"]) + metrics_flags(ANCHORED[scope]) + stop


RESOLVED_CONFIG = record(f"{RESULTS}/config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
REPORT = f"{RESULTS}/report/index.html"
# A base model that was fetched has no history.
WITH_HISTORY = CHECKPOINTS if config["model"]["source"] == "made" else CHECKPOINTS[1:]
# The gallery compares the base model, the SFT arm and where the leading experiment ends, on the first suite.
GALLERY = ["base", SFT_ARMS[0], f"{GRPO_ARMS[0]}/{configuration.STAGES[-1]}"]
GALLERY_SUITE = next(iter(SUITES))


def of_checkpoints(checkpoints, file):
    return [f"{RESULTS}/models/{checkpoint}/{file}" for checkpoint in checkpoints]


def metrics_flags(checkpoints, resamples=False):
    """Return --metrics CHECKPOINT SUITE FILE, with `resamples` also their file, for each checkpoint and suite."""
    words = []
    for checkpoint in checkpoints:
        for suite in SUITES:
            file = f"{RESULTS}/metrics/{checkpoint}/{suite}"
            words += ["--metrics", checkpoint, suite, f"{file}.json"] + [f"{file}.resamples.npz"] * resamples
    return words


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
