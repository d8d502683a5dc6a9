"""The configuration: one schema, and one clear line for each mistake."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vision_r1 import safe_yaml, trl_fields
from vision_r1.configuration_stages import check_rewards, check_stage, check_stages
from vision_r1.configuration_values import check_files, check_selection, check_values
from vision_r1.data import mixture
from vision_r1.experiments import (
    BASE,
    SFT,
    chain_of,
    experiment_config,
    merge,
    split_checkpoint,
    stages_of,
    training_values,
)
from vision_r1.families import FAMILIES
from vision_r1.files import UserError, read_json
from vision_r1.launcher.modes import LAUNCH, launcher_of, processes
from vision_r1.recipes import PRESETS
from vision_r1.schema_errors import RENAMED, check_schema
from vision_r1.text import did_you_mean

# The files that every run starts from, laid over each other.
DEFAULT = ("config/config.yaml", "config/datasets.yaml", "config/experiments.yaml")
RECIPES = ("miniature", "paper", "midi")  # the default first; the others are files of config/
# Suites of synthetic scenes: benchmarks have these names at the paper's scale.
RENAMED_SUITES = {"coco": "shapes", "odinw13": "shapes13"}


def load(files: Sequence[str | Path]) -> dict[str, Any]:
    """Return YAML files laid over each other, as Snakemake merges --configfile (dicts merge, lists replace)."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = merge(merged, safe_yaml.read(file))
    return merged


def defaults(source: Path) -> list[Path]:
    """Return the files that a run starts from: those of the workflow in folder `source`, then the working folder's."""
    separate = source.resolve() != Path.cwd()
    return [source / file for file in DEFAULT] + [Path(file) for file in DEFAULT if separate and Path(file).exists()]


def point_launchers(config: Mapping[str, Any], source: Path) -> None:
    """Give files of accelerate that the working folder lacks the paths of those in the workflow's folder `source`."""
    for words in (config["compute"]["launch"], config["compute"]["launch_predict"]):
        words[:] = [
            str(source / word) if not Path(word).exists() and (source / word).is_file() else word for word in words
        ]


def read_schema(folder: str | Path) -> dict[str, Any]:
    """Return the JSON Schema of a merged configuration, TRL's own fields among it, from the files of folder config/."""
    own, fields = (load([Path(folder) / name]) for name in ("schema.yaml", "trl_fields.yaml"))
    return trl_fields.merged(own, fields)


def presets(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Return recipe -> the resolved configuration of its preset, from the files of folder config/."""
    return {recipe: load(files) for recipe, files in preset_files(folder).items()}


def preset_files(folder: str | Path) -> dict[str, list[Path]]:
    """Return recipe -> the files of folder config/ that are laid over each other to make its preset."""
    default = [Path(folder) / Path(file).name for file in DEFAULT]
    return {recipe: [*default, *(Path(folder) / f"{name}.yaml" for name in names)] for recipe, names in PRESETS.items()}


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise UserError, one line naming the key, for the first thing wrong with a merged configuration."""
    if "renamed" in config:
        raise UserError(f"config: this file is now {config['renamed']}; give that after --configfile")
    evaluation = config.get("evaluation")
    protocols = evaluation.get("protocols") if isinstance(evaluation, Mapping) else None
    for section in (config.get("experiments"), protocols):
        for name in RENAMED.keys() & (section.keys() if isinstance(section, Mapping) else ()):
            raise UserError(f"config: {name!r} is now {RENAMED[name]!r}")
    check_values(config)
    check_schema(config, schema)
    for name in config["experiments"]:  # before any is read
        if re.search(r"_s\d+$", name) or name in (BASE, SFT, "processor"):
            raise UserError(
                f"config: experiments.{name}: the name is taken (ours: base, sft, processor, the ending _s<number>)"
            )
    parts = {**schema, "required": []}
    for name in config["experiments"]:
        # The sections that it doesn't touch were checked above: a study has many experiments.
        sections = config["experiments"][name].keys() & config.keys()
        merged = merge(config, config["experiments"][name])
        check_schema({key: merged[key] for key in sections}, parts, f"experiments.{name}.")
        check_stages(config, name)
    # The training itself refuses the others when their turn comes: settings need not fit what nobody asks for.
    asked_for = _asked_for(config)
    for name in asked_for:
        for stage in (stage for stage in stages_of(config, name) if stage != SFT):
            check_stage(config, name, stage)
    _check_recipe("config: over", config.get("over", config["recipe"]), config["recipe"])
    _check_references(config)
    for name in config["report"]["experiments"]:  # others are refused when they are planned
        for checkpoint in chain_of(config, name):
            training_values(config, checkpoint)
    check_rewards(config)
    _check_model(config)
    _check_compute(config)
    check_files(config)
    for name in asked_for:
        check_files(config["experiments"][name], f"experiments.{name}.")
    check_selection(config)
    data = config["data"]
    if data["min_instances"] > data["max_instances"]:
        raise UserError("config: data.min_instances: larger than data.max_instances")
    for name in (SFT, *asked_for):
        if not mixture.samples_asked_for(experiment_config(config, name)):
            where = "data" if name == SFT else f"experiments.{name}.data"
            raise UserError(
                f"config: {where}: no samples are asked for; give detection, grounding, negative or rec a number"
            )
    shares = [config["base"][f"{task}_share"] for task in ("detection", "grounding", "negative")]
    if abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"config: base.*_share: the three shares sum to {sum(shares):g}, not 1")


def _asked_for(config: Mapping[str, Any]) -> list[str]:
    """Return the experiments of the report and the ablations, and those that theirs start from."""
    named = [*config["report"]["experiments"], *config["ablations"]["experiments"]]
    chains = [chain_of(config, name) for name in named if name in config["experiments"]]
    arms = dict.fromkeys(split_checkpoint(checkpoint)[0] for chain in chains for checkpoint in chain)
    return [arm for arm in arms if arm in config["experiments"]]


def check_sections(files: Iterable[Path], schema: Mapping[str, Any]) -> None:
    """Raise UserError naming the file that has a section of which the configuration knows nothing.

    files: those laid over the workflow's own, which a merged configuration no longer tells apart.
    """
    for file in files:
        unknown = sorted(map(str, _read(file).keys() - schema["properties"].keys() - {"renamed"}))
        if unknown:
            raise UserError(f"{file}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], schema['properties'])}")


def _read(file: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if twice := [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]:
            raise UserError(f"{file}: {twice[0]!r} is given twice; merge them")
        return dict(pairs)

    content = read_json(file, once) if file.suffix == ".json" else safe_yaml.read(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a mapping of keys")
    return content


_BATCHES = {"per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation"}


def check_overlays(files: Iterable[Path], recipe: str) -> None:
    """Raise UserError for what the merged configuration can't show: a key given twice in a file, files in wrong order,
    and two shipped files that both set batches, which would multiply into one that nobody meant.

    files: those after --configfile, in their order; recipe: that of the defaults.
    """
    given, before = None, None
    for file in files:
        content = _read(file)
        sections = [content.get(name) for name in ("sft", "grpo")]
        if "over" in content and any(isinstance(each, dict) and _BATCHES & each.keys() for each in sections):
            if before:
                raise UserError(
                    f"--configfile {file}: sets batches, and {before} does, too; leave one out, or write the batches "
                    "that you mean into a file of your own, without key over"
                )
            before = file
        own = content.get("recipe", recipe)
        if given and own != recipe:
            raise UserError(f"--configfile {file}: is recipe {own!r}, but {given} is recipe {recipe!r}; leave one out")
        if "recipe" in content:
            given, recipe = file, own
        _check_recipe(f"--configfile {file}", content.get("over", recipe), recipe)


def _check_recipe(where: str, over: Any, recipe: str) -> None:
    """Raise UserError for values that change one recipe over another one; the schema knows what else is wrong."""
    if over in RECIPES and over != recipe:
        remedy = f"leave config/{recipe}.yaml out" if over == RECIPES[0] else f"give config/{over}.yaml before it"
        raise UserError(f"{where}: changes recipe {over!r}, but the recipe is {recipe!r}; {remedy}")


def check_model_folder(config: Mapping[str, Any]) -> None:
    """Raise UserError where the base model's folder is not on this machine."""
    model = config["model"]
    if model["source"] == "folder" and not Path(model["id"]).is_dir():
        raise UserError(f"config: model.id: no such folder {model['id']!r}")


def run_name(config: Mapping[str, Any]) -> str:
    """Return the folder under results/: the run's name, and the chain seed where it is not 0."""
    return config["run"] + (f"_seed{config['seed']}" if config["seed"] else "")


def _check_references(config: Mapping[str, Any]) -> None:
    evaluation, report, datasets = config["evaluation"], config["report"], config["datasets"]
    for section in ("report", "ablations"):
        for name in config[section]["experiments"]:
            what = "an experiment of config/experiments.yaml"
            _check_known(name, config["experiments"], f"{section}.experiments", what)
    for name in report["suites"]:
        if name not in evaluation["suites"] and name in RENAMED_SUITES:
            raise UserError(f"config: report.suites: {name!r} is now {RENAMED_SUITES[name]!r}")
        _check_known(name, evaluation["suites"], "report.suites", "a suite of evaluation.suites")
    mixture.check(config)
    trained_on = mixture.training_sources(config)
    for suite, names in evaluation["suites"].items():
        for name in names:
            _check_known(name, datasets, f"evaluation.suites.{suite}", "a data set of section datasets")
            if suite in report["suites"] and name in trained_on:
                raise UserError(f"config: evaluation.suites.{suite}: {name!r} is trained on (section data)")
            if "parts" in datasets[name]:
                raise UserError(f"config: evaluation.suites.{suite}: {name!r} is a group; name its parts")
        if suite not in evaluation["suite_protocols"]:
            raise UserError(f"config: evaluation.suite_protocols: suite {suite!r} has no protocols; add a line")
        for name in evaluation["suite_protocols"][suite]:
            _check_known(name, evaluation["protocols"], f"evaluation.suite_protocols.{suite}", "a protocol")
            _check_split(config, suite, name)
    for name, entry in evaluation["protocols"].items():
        for dataset, names in entry.get("names", {}).items():
            _check_known(dataset, datasets, f"evaluation.protocols.{name}.names", "a data set of section datasets")
            if len({*names.values()}) < len(names):
                raise UserError(f"config: evaluation.protocols.{name}.names.{dataset}: two categories get one name")
    for name, entry in datasets.items():
        for key, place in entry.items():
            if isinstance(place, Mapping) and "archive" in place:
                _check_known(place["archive"], config["archives"], f"datasets.{name}.{key}", "an archive")


def _check_split(config: Mapping[str, Any], suite: str, protocol: str) -> None:
    """Where both a protocol and a data set name a split, it has to be the same one."""
    asked = config["evaluation"]["protocols"][protocol].get("split")
    for name in config["evaluation"]["suites"][suite]:
        own = config["datasets"][name].get("split")
        if None not in (asked, own) and asked != own:
            raise UserError(
                f"config: evaluation.suite_protocols.{suite}: protocol {protocol!r} is about split {asked!r}, "
                f"but datasets.{name} is {own!r}"
            )


def _check_model(config: Mapping[str, Any]) -> None:
    model = config["model"]
    _check_known(model["family"], FAMILIES, "model.family", "a family of vision_r1/families/")
    if model["min_pixels"] > model["max_pixels"]:
        raise UserError("config: model.min_pixels: larger than model.max_pixels")
    sections = {f"experiments.{name}.data": entry.get("data", {}) for name, entry in config["experiments"].items()}
    for where, section in {"data": config["data"], **sections}.items():
        pixels = section.get("answer_pixels")
        if pixels and pixels < model["min_pixels"]:
            raise UserError(f"config: {where}.answer_pixels: {pixels} is below model.min_pixels; raise it")
    for name, entry in config["evaluation"]["protocols"].items():
        low, high = (entry.get(key, config["model"][key]) for key in ("min_pixels", "max_pixels"))
        if low > high:
            raise UserError(
                f"config: evaluation.protocols.{name}.min_pixels: {low} is above max_pixels {high}; lower it"
            )
    if model["source"] == "made":
        if config["base"]["hidden_size"] % config["base"]["head_size"]:
            raise UserError("config: base.hidden_size: not a multiple of base.head_size")
        if model["family"] != "qwen2_5_vl":
            raise UserError(
                "config: model.source: only a qwen2_5_vl can be made; other families come from hub or folder"
            )
    elif not model["id"]:
        raise UserError(f"config: model.id: missing; source {model['source']!r} needs a repository or a folder")
    if model["source"] == "hub" and not re.fullmatch(r"[0-9a-f]{40}", model["revision"] or ""):
        raise UserError("config: model.revision: give the 40 hex digits of a commit, so that the base can't change")


def _check_compute(config: Mapping[str, Any]) -> None:
    for job, launch in LAUNCH.items():
        gpus, nodes, started = config["compute"][job]["gpu"], config["compute"][job]["nodes"], processes(config, job)
        if gpus % nodes:
            raise UserError(f"config: compute.{job}: {gpus} GPUs can't be divided evenly among {nodes} nodes")
        if nodes > 1:
            launcher_of(config["compute"][launch])
        if gpus and gpus != started:
            raise UserError(
                f"config: compute.{job}.gpu: {gpus} GPUs are asked for, but compute.{launch} starts {started} "
                "processes, one a GPU; make the two equal (--num_processes of accelerate launch, or "
                "--nproc_per_node of torchrun, times nodes)"
            )


def _check_known(name: str, known: Mapping[str, Any], key: str, what: str) -> None:
    if name not in known:
        if name in RENAMED:
            raise UserError(f"config: {key}: {name!r} is now {RENAMED[name]!r}")
        raise UserError(f"config: {key}: {name!r} is not {what}{did_you_mean(name, sorted(known))}")
