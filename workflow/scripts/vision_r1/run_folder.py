"""A run's folder, results/<run>: where its files are. Programs that gather results read what the configuration names.

No file is found by a glob: files of an experiment that was taken off the list stay on disk, and are not shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from vision_r1.data import mixture, places
from vision_r1.experiments import (
    BASE,
    SFT,
    chains,
    checkpoints_of,
    compared_with,
    data_of,
    lineage,
    parent_checkpoint,
    resumes,
    split_checkpoint,
    stages_of,
)
from vision_r1.files import UserError, read_json


class Run:
    """A run: its folder and its resolved configuration. Rules take their paths from here, too."""

    def __init__(self, folder: str | Path, config: Mapping[str, Any]) -> None:
        self.folder, self.config = Path(folder), config

    @classmethod
    def read(cls, folder: str | Path) -> "Run":
        """Read the configuration that a run started with. Raises UserError where the folder is not a run's."""
        run = cls(folder, {})
        if not run.settings.is_file():
            raise UserError(
                f"--run {folder}: no config.json in it; give the folder of a run, such as results/miniature"
            )
        config = read_json(run.settings)
        if not isinstance(config, dict) or "report" not in config:
            raise UserError(f"--run {folder}: its config.json is not a run's; give a folder such as results/miniature")
        return cls(folder, config)

    @classmethod
    def of_model(cls, folder: str | Path) -> "Run | None":
        """Return the run that a checkpoint's folder, <run>/models/<checkpoint>/model, belongs to, None without one."""
        for parent in Path(folder).absolute().parents:
            run = cls(parent.parent, {})
            if parent.name != "models" or not run.settings.is_file():
                continue
            config = read_json(run.settings)
            if isinstance(config, dict) and "evaluation" in config:  # another program's config.json may stand there
                return cls(run.folder, config)
        return None

    @property
    def settings(self) -> Path:
        """The resolved configuration, as the run was started with it."""
        return self.folder / "config.json"

    def watch(self, rule: str) -> Path:
        """Return the TRL configuration file that says how a training is watched."""
        return self.folder / f"watch/{rule}.yaml"

    def code(self, script: str) -> Path:
        """Return the code stamp that a program was last started with."""
        return self.folder / f"code/{script}.txt"

    # Data

    def place(self, dataset: str, key: str) -> str:
        """Return the path of a data set's annotations (or other file, by its key) or folder `images`."""
        return places.place(self.config, self.folder, dataset, key)

    @property
    def trained_on(self) -> list[str]:
        """The data sets that training samples are drawn from."""
        return mixture.training_sources(self.config)

    @property
    def tested(self) -> list[str]:
        """The data sets of the report's suites."""
        suites = self.config["evaluation"]["suites"]
        return sorted({name for suite in self.suites for name in suites[suite]})

    @property
    def kept_out(self) -> list[str]:
        """The data sets whose images must not be trained on. Curation itself keeps the selection split out."""
        benchmarks = {name for name in self.tested if "selection" not in self.config["datasets"][name]}
        return sorted({*benchmarks, *mixture.parts(self.config, self.config["data"]["keep_out"])})

    def train_file(self, arm: str = BASE) -> Path:
        """Return an arm's training file: the shared one, or that of the experiment with its own section data."""
        return self._curated(arm) / "train.jsonl"

    def curation(self, arm: str = BASE) -> Path:
        """Return the summary of curate_train.py about an arm's training file."""
        return self._curated(arm) / "curation.json"

    @property
    def leaks(self) -> Path:
        """The leaks of find_leaks.py."""
        return self.folder / "data/leaks.json"

    @property
    def datasheet(self) -> Path:
        """The numbers of render_datasheet.py."""
        return self.folder / "data/datasheet.json"

    # Checkpoints

    @cached_property  # rules ask dozens of times
    def checkpoints(self) -> list[str]:
        """The checkpoints of the report: the base model, the SFT baselines, and all behind each experiment."""
        report = self.config["report"]
        return checkpoints_of(self.config, report["experiments"], report["training_seeds"])

    @property
    def compared(self) -> list[tuple[str, str]]:
        """The pairs of checkpoints that the report compares: the second is what the first one is measured against."""
        return [(name, other) for name in self.checkpoints for other in compared_with(self.config, name)]

    @property
    def trained(self) -> list[str]:
        """The report's checkpoints that have a training history, which a fetched base model hasn't."""
        return self.checkpoints if self.config["model"]["source"] == "made" else self.checkpoints[1:]

    def ends(self, section: str) -> list[str]:
        """Return where the trainings of section report or ablations end: SFT baselines, then experiments."""
        wanted = self.config[section]
        found = chains(self.config, [SFT, *wanted["experiments"]], wanted["training_seeds"])
        return [chain[-1] for chain in found.values()]

    def model(self, checkpoint: str) -> Path:
        """Return the folder of a checkpoint's weights and processor."""
        return self.folder / f"models/{checkpoint}/model"

    def training(self, checkpoint: str) -> Path:
        """Return what a training wrote about itself, metrics.json."""
        return self.folder / f"models/{checkpoint}/metrics.json"

    def resumed(self, checkpoint: str) -> list[str]:
        """Return the trainer checkpoint that a training resumes from; none: it starts from its parent's weights."""
        if not resumes(self.config, checkpoint):
            return []
        return [str(self.folder / f"models/{parent_checkpoint(self.config, checkpoint)}/checkpoint")]

    def history(self, checkpoint: str) -> Path:
        """Return what a training logged by step."""
        return self.folder / f"models/{checkpoint}/history.jsonl"

    def release(self, checkpoint: str) -> Path:
        """Return the folder of release_checkpoint.py."""
        return self.folder / f"release/{checkpoint}"

    # Scores

    @property
    def suites(self) -> list[str]:
        """The suites of the report."""
        return list(self.config["report"]["suites"])

    @property
    def benchmarks(self) -> list[tuple[str, str]]:
        """Each suite of the report with each of its protocols."""
        protocols = self.config["evaluation"]["suite_protocols"]
        return [(suite, protocol) for suite in self.suites for protocol in protocols[suite]]

    @property
    def costs_shown(self) -> set[str]:
        """The benchmark files, without ending, of the jobs behind each checkpoint and suite of the report."""
        alone = {f"{rule}/{name}" for rule in ("train_sft", "train_grpo") for name in self.checkpoints}
        pairs = [f"{name}/{suite}" for name, suite in self.scored(self.checkpoints)]
        return alone | {f"{rule}/{pair}" for rule in ("predict_suite", "score_suite") for pair in pairs}

    def scored(self, checkpoints: Iterable[str]) -> list[tuple[str, str]]:
        """Return (checkpoint, suite) for each of these checkpoints and each suite of the report."""
        return [(checkpoint, suite) for checkpoint in checkpoints for suite in self.suites]

    def measurable(self, scored: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the (checkpoint, suite) among `scored` that this run can measure, each once."""
        trained = {f"{name}/{stage}" for name in self.config["experiments"] for stage in stages_of(self.config, name)}
        return [
            (checkpoint, suite)
            for checkpoint, suite in dict.fromkeys(scored)
            if suite in self.config["evaluation"]["suites"] and checkpoint in {BASE, SFT, *trained}
        ]

    @property
    def gallery(self) -> list[tuple[str, str]]:
        """(checkpoint, suite) whose answers are shown: the base model, SFT, and where the leading experiment ends."""
        leading = self.ends("report")[len(self.config["report"]["training_seeds"])]
        return [(checkpoint, suite) for suite in self.suites for checkpoint in (BASE, self.checkpoints[1], leading)]

    def predictions(self, checkpoint: str, suite: str) -> Path:
        """Return the completions of predict_suite.py."""
        return self.folder / f"predictions/{checkpoint}/{suite}.jsonl"

    def metrics(self, checkpoint: str, suite: str) -> Path:
        """Return the scores of score_suite.py."""
        return self.folder / f"metrics/{checkpoint}/{suite}.json"

    def resamples(self, checkpoint: str, suite: str) -> Path:
        """Return the bootstrap resamples of score_suite.py."""
        return self.folder / f"metrics/{checkpoint}/{suite}.resamples.npz"

    def read_metrics(self, scored: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        """Read the scores of these (checkpoint, suite)."""
        return {pair: read_json(self.metrics(*pair)) for pair in scored}

    # The report

    @property
    def tables(self) -> Path:
        """The folder of tables."""
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.folder / "figures"

    @property
    def results(self) -> Path:
        """Every score in one table, of tabulate_results.py."""
        return self.tables / "results.csv"

    @property
    def comparison(self) -> Path:
        """The comparison of compare_checkpoints.py."""
        return self.tables / "comparison.json"

    def anchors(self, scope: str) -> Path:
        """Return published numbers beside ours, of check_anchors.py: `base`, `gate` or `all`."""
        return self.folder / f"anchors/{scope}.json"

    @property
    def audit(self) -> Path:
        """The folder of audit_rewards.py."""
        return self.folder / "audit"

    @property
    def checksums(self) -> Path:
        """The checksums of checksum_inputs.py."""
        return self.folder / "checksums.json"

    @property
    def costs(self) -> Path:
        """The folder of Snakemake's benchmark files."""
        return self.folder / "benchmarks"

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "report/index.html"

    def jobs(self, checkpoint: str) -> Iterator[tuple[str, Path, Path]]:
        """Yield (rule, output, log) of each job behind a checkpoint's scores, in the order of work."""
        for name in lineage(self.config, checkpoint):
            rule = "train_sft" if split_checkpoint(name)[1] == SFT else "train_grpo"
            yield rule, self.training(name), self._log(rule, name)
        for suite in self.suites:
            output = self.predictions(checkpoint, suite)
            yield "predict_suite", output, self._log("predict_suite", f"{checkpoint}/{suite}")
            yield "score_suite", self.metrics(checkpoint, suite), self._log("score_suite", f"{checkpoint}/{suite}")

    def _curated(self, arm: str) -> Path:
        name = data_of(self.config, arm)
        return self.folder / (f"data/of/{name}" if name else "data")

    def _log(self, rule: str, name: str) -> Path:
        return self.folder / f"logs/{rule}/{name}.log"
