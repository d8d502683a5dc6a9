"""Names and functions that the rules share. No rules here."""

import base64
import copy
import functools
import gc
import hashlib
import inspect
import json
import os
import re
import socket
import sys
from pathlib import Path

import yaml
from snakemake.api import resolve_snakefile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

# Snakemake creates millions of objects that stay. With rarer garbage collection, a large study is planned 10 % faster.
gc.set_threshold(50_000, 1000, 1000)
# Jobs start `python`: this environment's, unless conda puts its own in front.
os.environ.update(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH')}")
os.environ.pop("PYTHONSAFEPATH", None)  # programs import vision_r1 from their own folder
# launch_job.py has to know whether a job has an allocation of its own, which only Snakemake knows.
if workflow.remote_exec:
    os.environ.update(VISION_R1_SENT_BY_EXECUTOR="1")

from vision_r1 import configuration, experiments, finished, flags, machine
from vision_r1.data import places
from vision_r1.evaluation.published import read_tables
from vision_r1.experiments import STAGES
from vision_r1.files import UserError, write_text
from vision_r1.launcher import slurm
from vision_r1.report.style import FIGURES, SHEETS
from vision_r1.run_folder import Run
from vision_r1.stamps import Stamps

PUBLISHED = str(SOURCE / "config/published.yaml")
STYLE = str(SCRIPTS / "vision_r1/report/style.mplstyle")
TEMPLATES = SCRIPTS / "vision_r1/report/templates"

# Later ones win: our defaults; the same files in a separate working folder; --configfile and --config, or what a module
# is given. As a module we read nothing from the working folder, which belongs to the workflow that uses us.
DEFAULTS = [SOURCE / file for file in configuration.DEFAULT]
if workflow.modifier.is_main_snakefile():
    DEFAULTS = configuration.defaults(SOURCE)
workflow.configfiles.extend(map(str, DEFAULTS))  # as `configfile:` does: Snakemake names them in its report

IN_CONTAINER = "apptainer" in map(str, workflow.deployment_settings.deployment_method)

try:
    if IN_CONTAINER and not os.path.exists("vision-r1.sif"):
        raise UserError(
            "vision-r1.sif: no such file; --sdm apptainer needs it: build it as containers/vision-r1.def says"
        )
    asked, defaults = copy.deepcopy(config), configuration.load(DEFAULTS)
    schema = configuration.read_schema(SOURCE / "config")
    if workflow.modifier.is_main_snakefile():
        added = [*DEFAULTS[len(configuration.DEFAULT) :], *workflow.config_settings.configfiles]
        configuration.check_sections(added, schema)
        configuration.check_overlays(workflow.config_settings.configfiles, defaults["recipe"])
    update_config(config, defaults)
    update_config(config, asked)
    configuration.check(config, schema)
    RUN = Run(f"results/{configuration.run_name(config)}", config)
    configuration.check_model_folder(config)
    places.check_exist(config, sorted({*RUN.trained_on, *RUN.tested, *RUN.kept_out}))
    # Each published table is a target.
    TABLES = {table.name: table for table in read_tables(PUBLISHED)}
except UserError as error:
    sys.exit(f"error: {error}")

configuration.point_launchers(config, SOURCE)

EVALUATION = config["evaluation"]
DATASETS_OF = EVALUATION["suites"]  # any of them can be a target; the report shows RUN.suites
ABLATED = ["base", *RUN.ends("ablations")]  # the base model, and where the training of each arm ends
TRAINED_IN_ABLATIONS = experiments.checkpoints_of(config, config["ablations"]["experiments"], [0])
# The checkpoints that are released.
FINAL = RUN.ends("report")
# Checkpoints whose numbers are set beside published ones. The gate that GRPO waits for is made once, and then drops out
# of the rules: scoring the base model again must not train anything again. (With an ancient() input, Snakemake would
# forget other reasons downstream of it.)
ANCHORS_GATE = [] if EVALUATION["anchors"] == "none" else [str(RUN.anchors("gate"))]
ANCHORED = {"base": ["base"], "all": RUN.checkpoints}
if not all(map(os.path.exists, ANCHORS_GATE)):
    ANCHORED["gate"] = ["base"]
# The sections that decide whether a run is trained and measured as a published recipe says.
METHOD = ["report", "model", "templates", "data", "lora", "reward", "sft", "grpo", *STAGES]
METHOD += ["evaluation", "compute", "experiments", "datasets"]
# The presets of the published recipes, whose numbers stand beside those of a run with the same configuration.
PRESET_FILES = configuration.preset_files(SOURCE / "config").values()
PRESETS = list(dict.fromkeys(str(file) for own in PRESET_FILES for file in own))
# Without this flag, programs look for them in the working folder.
PRESETS_FLAG = "" if SOURCE == Path(".") else f" --config {SOURCE}/config"

SEED_PATTERN = r"(?:_s[1-9]\d*)?"
EXPERIMENT_PATTERN = rf"(?:{'|'.join(config['experiments'])}){SEED_PATTERN}"
# The SFT baseline, and an experiment's own.
SFT_PATTERN = rf"(?:sft{SEED_PATTERN}|{EXPERIMENT_PATTERN}/sft)"
ARCHIVE_FILES = {name: places.archive_file(config, name) for name in config["archives"]}


wildcard_constraints:
    experiment=EXPERIMENT_PATTERN,
    stage="|".join(STAGES),
    data="|".join(config["experiments"]),
    sft=SFT_PATTERN,
    # Short, because Snakemake parses it again for each output, log and benchmark of each job. A target with a checkpoint
    # that nothing trains is refused: its model can't be made.
    checkpoint=r"[\w/]+",
    suite="|".join(DATASETS_OF),
    scope="|".join(ANCHORED),
    table="|".join(TABLES),
    dataset="|".join(config["datasets"]),
    archive="|".join(name for name, file in ARCHIVE_FILES.items() if not file.endswith(".json")),
    released="|".join(name for name, entry in config["datasets"].items() if "released" in entry),
    download="|".join(re.escape(file) for file in ARCHIVE_FILES.values()),


# What programs read of the configuration, and what their code means: path -> text. See `write_records`.
RECORDS = {RUN.settings: json.dumps(config, indent=2) + "\n"}
# A job that an executor sent reads the configuration again. What it makes is recorded with that of the run's start.
RECONFIGURED = RUN.settings.is_file() and json.loads(RUN.settings.read_text()) != config
if workflow.remote_exec and RECONFIGURED:
    sys.exit(
        f"error: {RUN.settings}: the configuration has changed since the run started; "
        "stop the run and start it again"
    )
STAMPS = {}
PROGRAMS = Stamps(Path(".snakemake/vision_r1_modules.json"))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def state(files):
    """Return a hash of sizes and times of change, a rule's parameter for files that an older one may replace."""
    return digest(places.states(files))


def code(script):
    """Return the hash of a program's code stamp, a rule's parameter; with freeze_code, that of its last start.

    The stamp is noted in STAMPS, for write_records.
    """
    stamp = RUN.code(script)
    frozen = config["freeze_code"] and stamp.is_file()
    STAMPS[stamp] = stamp.read_text() if frozen else PROGRAMS.of(SCRIPTS / script)
    return digest(STAMPS[stamp])


def settings(*sections):
    """Return section -> hash, for the sections of config.json that a program reads: a rule's parameter."""
    return {name: digest(json.dumps(config[name], sort_keys=True)) for name in sections}


def watched(rule, *names):
    """Return the path of the TRL configuration that says how a training is watched: guards, and keys of logging.

    They change no result: the rule knows only the path, so that an edit of them trains nothing again. The content is
    noted in RECORDS, for write_records.
    """
    values = {f"guard_{name}": bound for name, bound in config["guards"].items()}
    RECORDS[RUN.watch(rule)] = yaml.safe_dump(values | {name: config["logging"][name] for name in names})
    return str(RUN.watch(rule))


def check_provenance():
    """Exit where the configuration or a program has changed, and nothing tells which results that concerns.

    Snakemake notes in .snakemake what each job was made with. Where these notes are lost, it takes whatever is there,
    so that old results would be reported as those of the new configuration.
    """
    if workflow.remote_exec or "--unlock" in sys.argv:
        return
    changed = [RUN.settings] if RECONFIGURED else []
    changed += [path for path, text in STAMPS.items() if path.is_file() and path.read_text() != text]
    if not changed:
        return
    ablations = config["ablations"]
    trained = {
        *RUN.checkpoints,
        *experiments.checkpoints_of(config, ablations["experiments"], ablations["training_seeds"]),
    }
    curated = {RUN.train_file(experiments.split_checkpoint(name)[0]) for name in trained}
    made = [*map(str, curated), *files(RUN.training, trained)]
    made += [*files(RUN.predictions, RUN.scored(trained)), *files(RUN.metrics, RUN.scored(trained))]
    if unknown := [file for file in sorted(made) if os.path.isfile(file) and not noted(file)]:
        sys.exit(
            f"error: {unknown[0]}: .snakemake has no note of what it was made with, and {changed[0]} differs from what "
            "it would be now. Copy .snakemake from where the results were made; or note it, with the code of "
            f"then: snakemake --touch --forceall --cores 1 --configfile {RUN.settings}; or give another `run`"
        )


def noted(file):
    """Tell whether Snakemake has a note of what made an output, or will make it again (its FilePersistence)."""
    name = base64.urlsafe_b64encode(file.encode()).decode()
    if len(name) >= os.pathconf(".", "PC_NAME_MAX") or Path(".snakemake/metadata.db").exists():  # kept otherwise
        return True
    return any(Path(".snakemake", kind, name).exists() for kind in ("metadata", "incomplete"))


def write_records():
    """Write RECORDS, and the stamps of the programs that run now; outputs of all others keep their older stamps."""
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.module_globals is globals()]
    for job in jobs:
        if workflow.dag.reason(job).forced and not workflow.touch:
            finished.forget(job.output)
    running = {job.params.get("code") for job in jobs}
    stamps = {path: text for path, text in STAMPS.items() if digest(text) in running}
    for path, text in (RECORDS | stamps).items():
        write_text(path, text)
    write_text(".snakemake/started_on", f"{socket.gethostname()}, process {os.getpid()}")  # see unlock_run.py


# Snakemake starts no module's onstart, and may use us as several modules. A workflow that uses us and has an onstart of
# its own calls vision_r1.onstart().
if not workflow.modifier.is_main_snakefile():

    def write_records_too(log, before=workflow._onstart):
        before(log)
        write_records()

    workflow._onstart = write_records_too


def check_machine():
    """Before the first job: exit where jobs can't be sent, and warn where this machine is too small for them."""
    if "slurm" in workflow.executor_plugin.executor.__module__:
        if IN_CONTAINER:
            sys.exit("error: --sdm apptainer: launch_job.py needs srun, which the image lacks; leave it out on SLURM")
        if fault := slurm.fault():
            sys.exit(f"error: {fault}")
    if workflow.executor_plugin.common_settings.local_exec:
        asked = {job.rule.name for job in workflow.dag.needrun_jobs()} & config["compute"].keys()
        jobs = {rule: config["compute"][rule] for rule in sorted(asked)}
        for line in machine.shortages(jobs, workflow.cores, machine.memory_mb()):
            print(f"warning: {line}", file=sys.stderr)


def compute(job, key):
    """Return a value of section compute, e.g. compute("train_grpo", "threads")."""
    return config["compute"][job][key]


def more(amount):
    """Return a function of a job's attempt: each retry requests half of `amount` more, at most twice `amount`.

    Not for what resumes where it was stopped. Such a job is retried because its time was up or its node was taken, and
    no node may have more memory than it requested first.
    """
    return signed(lambda wildcards, attempt: round(amount * min(1 + (attempt - 1) / 2, 2)))


def by_suite(function):
    """Return a function of wildcards that calls `function` once for each suite: many checkpoints are tested on it."""
    known = functools.cache(function)
    return signed(lambda wildcards: known(wildcards.suite))


def signed(function):
    """Note a function's signature: Snakemake asks for it several times a job, and Python works it out each time."""
    function.__signature__ = inspect.signature(function)
    return function


def trained(wildcards):
    """Return the name of the checkpoint that a GRPO job trains."""
    return f"{wildcards.experiment}/{wildcards.stage}"


def ready(names):
    """Return what must exist before data sets can be read."""
    return places.ready_files(config, RUN.folder, names)


def scored_on_held_out_images(wildcards):
    """Scores on training images that were held out; there are none where data.held_out is 0."""
    if not config["data"]["held_out"]:
        raise WorkflowError(
            "data.held_out is 0: no images are held out to choose checkpoints on; set it before training"
        )
    return files(RUN.metrics, [(checkpoint, "selection") for checkpoint in RUN.checkpoints])


def files(place, names):
    """Return the files that a function of RUN gives for each name; names: checkpoints, or pairs (checkpoint, suite)."""
    return [str(place(*name) if isinstance(name, tuple) else place(name)) for name in names]


def this_command(*words):
    """Return the words of the command that started this run, with `words` added; a target can follow."""
    asked = workflow.config_settings
    overlays = [os.path.relpath(file) for file in asked.configfiles]
    words = ["snakemake", "--cores", "all", *words] + (["--configfile", *overlays] if overlays else [])
    found = resolve_snakefile(None, allow_missing=True)
    if not found or found.resolve() != Path(workflow.main_snakefile).resolve():
        words += ["--snakefile", workflow.main_snakefile]
    if asked.config:
        words += ["--config", *(f"{key}={'' if value is None else value}" for key, value in asked.config.items())]
    return [*words, "--"]


def gpus_of_rules():
    """Return --gpus RULE N for each rule of ours."""
    ours = [rule for rule in workflow.rules if rule.module_globals is globals()]
    numbers = {rule.name: rule.resources["gpu"].value for rule in ours if "gpu" in rule.resources}
    return [word for name, number in numbers.items() for word in ["--gpus", name, str(number)]]
