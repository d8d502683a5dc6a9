"""A run's folder, results/<run>: where its files are. Programs that gather results read what the configuration names.

Nothing is looked for by pattern: a file of an experiment that was taken off the list stays, and is not shown.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vision_r1.experiments import SFT, chains, checkpoints_of, lineage, split_checkpoint
from vision_r1.files import UserError, read_json


class Run:
    """A run: its folder and its resolved configuration. Rules take their paths from here, too."""

    def __init__(self, folder: str | Path, config: Mapping[str, Any]) -> None:
        self.folder, self.config = Path(folder), config

    @classmethod
    def read(cls, folder: str | Path) -> "Run":
        """Read the configuration that a run started with. Raises UserError where the folder is no run's."""
        if not (Path(folder) / "config.json").is_file():
            raise UserError(
                f"--run {folder}: no config.json in it; give the folder of a run, such as results/miniature"
            )
        return cls(folder, read_json(Path(folder) / "config.json"))

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
    def checkpoints(self) -> list[str]:
        """The checkpoints of the report: the base model, the SFT baselines, and all behind each experiment."""
        report = self.config["report"]
        return checkpoints_of(self.config, report["experiments"], report["training_seeds"])

    def ends(self, section: str) -> list[str]:
        """Return where the trainings of section report or ablations end: SFT baselines, then experiments."""
        wanted = self.config[section]
        found = chains(self.config, [SFT, *wanted["experiments"]], wanted["training_seeds"])
        return [chain[-1] for chain in found.values()]

    def metrics(self, checkpoint: str, suite: str) -> Path:
        """Return the scores of score_suite.py."""
        return self.folder / f"metrics/{checkpoint}/{suite}.json"

    def resamples(self, checkpoint: str, suite: str) -> Path:
        """Return the bootstrap resamples of score_suite.py."""
        return self.folder / f"metrics/{checkpoint}/{suite}.resamples.npz"

    @property
    def curation(self) -> Path:
        """The summary of curate_train.py."""
        return self.folder / "data/curation.json"

    @property
    def tables(self) -> Path:
        """The folder of tables."""
        return self.folder / "tables"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.folder / "figures"

    def jobs(self, checkpoint: str) -> Iterator[tuple[str, Path, Path]]:
        """Yield (rule, output, log) of each job behind a checkpoint's scores, in the order of work."""
        for name in lineage(self.config, checkpoint):
            rule = "train_sft" if split_checkpoint(name)[1] == SFT else "train_grpo"
            yield rule, self.folder / f"models/{name}/metrics.json", self._log(rule, name)
        for suite in self.suites:
            output = self.folder / f"predictions/{checkpoint}/{suite}.jsonl"
            yield "predict_suite", output, self._log("predict_suite", f"{checkpoint}/{suite}")
            yield "score_suite", self.metrics(checkpoint, suite), self._log("score_suite", f"{checkpoint}/{suite}")

    def _log(self, rule: str, name: str) -> Path:
        return self.folder / f"logs/{rule}/{name}.log"
