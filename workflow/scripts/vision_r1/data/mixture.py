"""Section `data` of the configuration: how many samples of each task are drawn from which sources.

A task's number is drawn from all of `data.train`; a mapping {data set or group: number} splits it by source. A group
is a data set with `parts`. A data set without its image folder gives its share to its `substitute`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vision_r1.experiments import Config, experiment_config
from vision_r1.files import UserError
from vision_r1.text import did_you_mean

TASKS = ("detection", "grounding", "negative", "rec")  # the place of a task decides its random numbers


@dataclass(frozen=True)
class Draw:
    """`count` samples of a task, drawn from the named sources; none named: from all."""

    task: str
    count: int
    sources: tuple[str, ...] = ()


def parts(config: Config, names: Iterable[str]) -> list[str]:
    """Return data sets, each once: the parts of groups, and the substitutes of those without image folder."""
    found: dict[str, None] = {}
    for name in names:
        entry = config["datasets"][name]
        inside = [entry["substitute"]] if is_absent(config, name) else entry.get("parts")
        found.update(dict.fromkeys(parts(config, inside) if inside else [name]))
    return list(found)


def is_absent(config: Config, name: str) -> bool:
    """Tell whether a data set needs an image folder that can't be downloaded, and none was named."""
    return config["datasets"][name].get("images", "") is None


def draws_of(config: Config) -> list[Draw]:
    """Return what to draw, in the order of TASKS; draws of one task from the same sources are joined."""
    counts: dict[tuple[str, tuple[str, ...]], int] = {}
    for task in TASKS:
        for names, count in _shares(config, task):
            key = task, tuple(parts(config, names))
            counts[key] = counts.get(key, 0) + count
    everything = tuple(training_sources(config))
    return [Draw(task, count, () if names == everything else names) for (task, names), count in counts.items()]


def training_sources(config: Config) -> list[str]:
    """Return the data sets that are drawn from: those of data.train, then those that tasks name."""
    shares = [name for task in TASKS for names, _ in _shares(config, task) for name in names]
    return parts(config, [*config["data"]["train"], *shares])


def samples_asked_for(config: Config) -> int:
    """Return how many rows the training file should have."""
    return sum(count for task in TASKS for _, count in _shares(config, task))


def substitutions(config: Config) -> list[str]:
    """Say, a sentence each, whose share is drawn from another source because its images are not here."""
    return [
        f"{name} has no image folder (datasets.{name}.images): its {count:,} {task} samples are drawn from "
        f"{config['datasets'][name]['substitute']}."
        for task in TASKS
        if isinstance(config["data"][task], Mapping)
        for name, count in config["data"][task].items()
        if count and is_absent(config, name)
    ]


def check(config: Config) -> None:
    """Raise UserError, naming the key, for impossible groups, substitutes and sources."""
    datasets = config["datasets"]
    for name, entry in datasets.items():
        for part in entry.get("parts", ()):
            _check_source(config, part, f"datasets.{name}.parts")
            if "parts" in datasets[part]:
                raise UserError(f"config: datasets.{name}.parts: {part!r} is a group itself; name its parts")
        if is_absent(config, name):
            _check_source(config, entry.get("substitute", ""), f"datasets.{name}.substitute")
    for key in ("train", "keep_out"):
        for name in config["data"][key]:
            _check_source(config, name, f"data.{key}")
    _check_tasks(config, "data")
    sources = set(training_sources(config))
    if both := sorted(sources & {*parts(config, config["data"]["keep_out"])}):
        raise UserError(f"config: data.keep_out: {both[0]!r} is trained on")
    # The others may name sources that this configuration has switched off.
    asked_for = dict.fromkeys([*config["report"]["experiments"], *config["ablations"]["experiments"]])
    for experiment in asked_for:
        merged = experiment_config(config, experiment)
        _check_tasks(merged, f"experiments.{experiment}.data")
        for name in sorted(set(training_sources(merged)) - sources):
            raise UserError(
                f"config: experiments.{experiment}.data: {name!r} is not a source of section data; an experiment draws "
                "from the same images"
            )


def _check_tasks(config: Config, where: str) -> None:
    for task in TASKS:
        for names, _ in _shares(config, task):
            for name in names:
                _check_source(config, name, f"{where}.{task}", substitute_is_fine=True)


def _check_source(config: Config, name: str, where: str, substitute_is_fine: bool = False) -> None:
    if name not in config["datasets"]:
        hint = did_you_mean(name, sorted(config["datasets"]))
        raise UserError(f"config: {where}: {name!r} is not a data set of section datasets{hint}")
    if not substitute_is_fine and is_absent(config, name):
        raise UserError(f"config: {where}: datasets.{name}.images is null; name the folder with its images")


def _shares(config: Config, task: str) -> list[tuple[list[str], int]]:
    """Return (names, count) for each part of a task that is asked for."""
    value, train = config["data"][task], config["data"]["train"]
    shares = [([name], count) for name, count in value.items()] if isinstance(value, Mapping) else [(train, value)]
    return [(names, count) for names, count in shares if count]
