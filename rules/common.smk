"""Names and functions that the rules share. No rules here."""

import json
import os
import re
import sys
from pathlib import Path

import yaml

SCRIPTS = Path(workflow.basedir) / "workflow/scripts"
sys.path.insert(0, str(SCRIPTS))
# Jobs start `python`: this environment's, unless conda puts its own in front.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH')}")
# launch_job.py has to know whether a job has an allocation of its own, which only Snakemake knows.
if workflow.remote_exec:
    os.environ.update(VISION_R1_SENT_BY_EXECUTOR="1")

from vision_r1 import configuration, experiments
from vision_r1.data import mixture
from vision_r1.evaluation.published import read_tables
from vision_r1.files import UserError, write_text
from vision_r1.report.style import FIGURES, SHEETS
from vision_r1.run_folder import Run
from vision_r1.stamps import code_stamp

try:
    configuration.check(config, yaml.safe_load((Path(workflow.basedir) / "config/schema.yaml").read_text()))
    # Each published table is a target.
    TABLES = {table.name: table for table in read_tables(Path(workflow.basedir) / "config/published.yaml")}
except UserError as error:
    sys.exit(f"error: {error}")


RESULTS = f"results/{configuration.run_name(config)}"
RUN = Run(RESULTS, config)
EVALUATION = config["evaluation"]
DATASETS_OF = EVALUATION["suites"]  # any of them can be asked for; the report shows SUITES
SUITES = {suite: DATASETS_OF[suite] for suite in config["report"]["suites"]}
CHECKPOINTS = RUN.checkpoints


def metrics_files(checkpoints):
    return [str(RUN.metrics(name, suite)) for name in checkpoints for suite in RUN.suites]


def resamples_files(checkpoints):
    return [str(RUN.resamples(name, suite)) for name in checkpoints for suite in RUN.suites]


METRICS = metrics_files(CHECKPOINTS)
RESAMPLES = resamples_files(CHECKPOINTS)
# What section ablations compares: the base model, and where the training of each arm ends.
ABLATED = ["base", *RUN.ends("ablations")]
# Checkpoints whose numbers are set beside published ones. What GRPO waits for is made once: a later score of the base
# model must not train anything again (an ancient() input won't do: Snakemake forgets other reasons downstream of it).
ANCHORS_GATE = [] if EVALUATION["anchors"] == "none" else [f"{RESULTS}/anchors/gate.json"]
ANCHORED = {"base": ["base"], "all": CHECKPOINTS}
if not all(map(os.path.exists, ANCHORS_GATE)):
    ANCHORED["gate"] = ["base"]
if config["model"]["source"] == "folder" and not os.path.isdir(config["model"]["id"]):
    sys.exit(f"error: config: model.id: no such folder {config['model']['id']!r}")
TRAIN = mixture.training_sources(config)
TEST = sorted({name for names in SUITES.values() for name in names})
# Images of these must not be trained on. The selection split is held out of training by curation itself.
BENCHMARKS = sorted(
    {*(name for name in TEST if "selection" not in config["datasets"][name])}
    | {*mixture.parts(config, config["data"]["keep_out"])}
)
# The kinds of training sources by the key that names their annotation file, and the second file of some.
KINDS = {"annotations": "coco", "expressions": "expressions", "regions": "regions", "references": "references"}
SECOND = {"regions": "image_data", "references": "instances"}
PLACES = (*KINDS, *SECOND.values(), "images")
for name in sorted({*TRAIN, *TEST, *BENCHMARKS}):
    for key in PLACES:
        place = config["datasets"][name].get(key)
        if isinstance(place, str) and not os.path.exists(place):
            sys.exit(
                f"error: config: datasets.{name}.{key}: no such path {place!r}; name a folder with data in COCO format"
            )
# What was downloaded first, where nobody published a checksum. To be committed.
LOCK = "config/datasets.lock.json"
RELEASED = [name for name, entry in config["datasets"].items() if "released" in entry]

SEED_PATTERN = r"(?:_s[1-9]\d*)?"
EXPERIMENT_PATTERN = rf"(?:{'|'.join(config['experiments'])}){SEED_PATTERN}"
# The SFT baseline, and that of an experiment which trains another one.
SFT_PATTERN = rf"(?:sft{SEED_PATTERN}|{EXPERIMENT_PATTERN}/sft)"


def archive_file(name):
    """Return the file name of an archive, or of a single JSON file; one put there by hand is verified and used."""
    url = config["archives"][name]["url"]
    return f"{name}.{next((kind for kind in ('tar.gz', 'json') if url.endswith(f'.{kind}')), 'zip')}"


wildcard_constraints:
    experiment=EXPERIMENT_PATTERN,
    stage="|".join(experiments.STAGES),
    data="|".join(config["experiments"]),
    sft=SFT_PATTERN,
    checkpoint=rf"base|{SFT_PATTERN}|{EXPERIMENT_PATTERN}/(?:{'|'.join(experiments.STAGES)})",
    suite="|".join(DATASETS_OF),
    scope="|".join(ANCHORED),
    table="|".join(TABLES),
    dataset="|".join(config["datasets"]),
    archive="|".join(name for name in config["archives"] if not archive_file(name).endswith(".json")),
    released="|".join(RELEASED),
    download="|".join(re.escape(archive_file(name)) for name in config["archives"]),


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


def trained(wildcards):
    """Return the name of the checkpoint that a GRPO job trains."""
    return f"{wildcards.experiment}/{wildcards.stage}"


def parent_folder(wildcards):
    """Return the folder of the checkpoint that a GRPO stage starts from."""
    return f"{RESULTS}/models/{experiments.parent_checkpoint(config, trained(wildcards))}"


def reference_folder(wildcards):
    """Return the folder of the checkpoint that the KL term holds on to."""
    return f"{RESULTS}/models/{experiments.reference_checkpoint(config, trained(wildcards))}"


def resumes(wildcards):
    return experiments.resumes(config, trained(wildcards))


def data_file(arm, file="train.jsonl"):
    """Return a file of an arm's training data: the shared one, or that of the experiment with its own section data."""
    name = experiments.data_of(config, arm)
    return f"{RESULTS}/data/{f'of/{name}/' if name else ''}{file}"


def main_file(name):
    """Return the key of a data set's annotation file, one of KINDS."""
    return next((key for key in KINDS if key in config["datasets"][name]), "annotations")


def dataset_place(name, key):
    """Return the path of a data set's `annotations` (or other) file or `images` folder."""
    entry = config["datasets"][name]
    if "scenes" in entry:
        return f"{RESULTS}/data/scenes/{name}/{'annotations.json' if key == 'annotations' else 'images'}"
    if "selection" in entry:
        return f"{RESULTS}/data/selection.json" if key == "annotations" else "."
    if "released" in entry:
        return f"results/downloads/{name}/{'samples.jsonl' if key == 'annotations' else 'images'}"
    place = entry[key]
    if isinstance(place, str):
        return place
    if "path" not in place:
        return f"results/downloads/{archive_file(place['archive'])}"
    return f"results/downloads/{place['archive']}/{place['path']}"


def source_files(name):
    """Return the files that a data set is made of; in the place of what is in an archive, the archive's manifest."""
    entry = config["datasets"][name]
    if {"scenes", "selection", "released"} & entry.keys():
        return [dataset_place(name, "annotations")] + ([] if "selection" in entry else [dataset_place(name, "images")])
    places = [entry[key] for key in PLACES if key in entry]
    files = [place if isinstance(place, str) else f"results/downloads/{place['archive']}.json" for place in places]
    return list(dict.fromkeys(files))


def dataset_files(name):
    """Return the files that must exist before a data set can be read: its own, and the mark that they were checked."""
    made = {"scenes", "selection"} & config["datasets"][name].keys()
    return source_files(name) + ([] if made else [f"{RESULTS}/data/checked/{name}.json"])


def files_of(names):
    return sorted({file for name in names for file in dataset_files(name)})


RESOLVED_CONFIG = record(f"{RESULTS}/config.json", json.dumps(config, indent=2) + "\n")


def table_metrics(name):
    """Return (checkpoint, suite) -> file of the metrics that a published table needs of this run."""
    return {
        (checkpoint, suite): str(RUN.metrics(checkpoint, suite))
        for checkpoint, suite in TABLES[name].measured(config["model"]["id"])
        if suite in DATASETS_OF
        and experiments.split_checkpoint(checkpoint)[0] in ("base", "sft", *config["experiments"])
    }


# The presets of the published recipes: their numbers stand beside those of a run that was configured so.
PRESETS = [
    f"config/{name}.yaml"
    for name in dict.fromkeys(["config", "datasets", "experiments", *sum(configuration.PRESETS.values(), ())])
]
REPORT = f"{RESULTS}/report/index.html"
# A base model that was fetched has no history.
WITH_HISTORY = CHECKPOINTS if config["model"]["source"] == "made" else CHECKPOINTS[1:]
# What a reader would take away.
FINAL = RUN.ends("report")
# The galleries compare the base model, the SFT arm and where the leading experiment ends.
GALLERY_PREDICTIONS = {
    (checkpoint, suite): f"{RESULTS}/predictions/{checkpoint}/{suite}.jsonl"
    for suite in SUITES
    for checkpoint in ("base", CHECKPOINTS[1], FINAL[len(config["report"]["training_seeds"])])
}
TEMPLATES = sorted(
    f"workflow/scripts/vision_r1/report/templates/{file.name}"
    for file in (SCRIPTS / "vision_r1/report/templates").iterdir()
    if file.name.startswith(("report", "_", "tables"))
)


def of_checkpoints(checkpoints, file):
    return [f"{RESULTS}/models/{checkpoint}/{file}" for checkpoint in checkpoints]
