"""Time and size of a large run's report: 3 training seeds x 8 experiments x 14 benchmarks.

The run's files are made up, in the pipeline's formats: 52 checkpoints, each tested on a COCO-like set and 13 others
under two protocols, 3,000 logged steps per stage, and a gallery chosen from 400 test images per set. Each program runs
in its own process, as under its rule.

Example:
    python benchmarks/report.py --folder report_of_many
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from report_factory import comparison, history, write, write_lines
from report_run import Run

from vision_r1.experiments import STAGES, with_training_seed

SCRIPTS = Path(__file__).parents[1] / "workflow/scripts"
SEEDS, STEPS, IMAGES = (0, 1, 2), 3_000, 400
EXPERIMENTS = (
    "strict",
    "released_2025",
    "label_blind",
    "giou",
    "no_recall",
    "no_precision",
    "one_stage",
    "larger_group",
)
DATASETS = (
    *("aerial_maritime_drone", "aquarium", "cottontail_rabbits", "egohands", "mushrooms", "packages", "pascal_voc"),
    *("pistols", "pothole", "raccoon", "shellfish", "thermal_dogs_people", "vehicles"),
)


def made(folder: Path) -> Run:
    """Write the files of the run."""
    arms = [with_training_seed(name, seed) for name in EXPERIMENTS for seed in SEEDS]
    suites = {"coco": ["scenes_test"], "odinw13": [f"odinw_{name}" for name in DATASETS]}
    changes = {
        "evaluation": {"suites": suites},
        "report": {"experiments": list(EXPERIMENTS), "training_seeds": list(SEEDS)},
        "experiments": {name: {"grpo": {"temperature": 1 + n}} for n, name in enumerate(EXPERIMENTS)},
        "datasets": {name: {"scenes": {}} for name in suites["odinw13"]},
    }
    run = Run(folder, IMAGES, changes)
    checkpoints = run.checkpoints
    for number, name in enumerate(checkpoints[4:]):
        write_lines(run.history(name), history(1 + number % 2, number, STEPS, every=10))
    (template, *_) = comparison()["lines"]
    lines = [
        {**template, "checkpoint": name, "reference": other, "suite": suite, "protocol": protocol, "dataset": dataset}
        for name, other in run.compared
        for suite, protocol in run.benchmarks
        for dataset in ("mean", *suites[suite])
    ]
    write(run.comparison, {**comparison(), "lines": lines})
    jobs = [f"train_grpo/{arm}/{stage}" for arm in arms for stage in STAGES]
    jobs += [
        f"{step}_suite/{name}/{suite}" for step in ("predict", "score") for name in checkpoints for suite in suites
    ]
    for job in jobs:
        path = run.costs / f"{job}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("s\th:m:s\tmax_rss\n4210.5\t1:10:10\t81240.1\n")
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to leave the run and its page")
    folder = (parser.parse_args().folder or Path(tempfile.mkdtemp())).resolve()
    run = made(folder)
    whole = 0.0
    sys.stdout.write(f"{len(run.checkpoints)} checkpoints, {len(run.tested)} benchmarks\n")
    for script in ("tabulate_results.py", "plot_results.py", "render_report.py"):
        started = time.monotonic()
        subprocess.run([sys.executable, SCRIPTS / script, *run.words], check=True, cwd=SCRIPTS.parents[1])
        seconds = time.monotonic() - started
        whole += seconds
        sys.stdout.write(f"{script:<20} {seconds:6.1f} s\n")
    sys.stdout.write(f"{'all':<20} {whole:6.1f} s\n")
    sys.stdout.write(f"{'index.html':<20} {(folder / 'report/index.html').stat().st_size / 2**20:6.1f} MiB\n")


if __name__ == "__main__":
    main()
