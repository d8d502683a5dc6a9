"""Write the report of a run: one HTML file that opens from disk, with tables, figures, test images and provenance.

It is report/index.html in the run's folder. It needs tables/results.csv (tabulate_results.py) and the test images that
predictions are about, by paths from the working folder. Other parts whose inputs don't exist are shown as missing.

Example:
  python workflow/scripts/render_report.py --run results/miniature
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vision_r1 import cli

T = TypeVar("T")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    arguments = cli.parser(__doc__)
    cli.add_run(arguments)
    cli.add_presets(arguments)
    arguments.add_argument(
        "--samples", type=cli.whole_number(0), default=6, metavar="N", help="training samples to draw"
    )
    arguments.add_argument(
        "--gpus",
        nargs=2,
        action="append",
        default=[],
        metavar=("RULE", "N"),
        help="GPUs that each job of a rule takes, to count GPU-hours; repeat. Jobs of other rules are not counted",
    )
    arguments.add_argument(
        "--snakemake", default="snakemake", metavar="COMMAND", help="how a reader starts this run's workflow"
    )
    args = arguments.parse_args(argv)
    try:
        args.gpus = {rule: cli.whole_number(0)(number) for rule, number in args.gpus}
    except argparse.ArgumentTypeError as error:
        arguments.error(f"argument --gpus: {error}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.data.coco import read_coco
    from vision_r1.evaluation.compare import read_comparison
    from vision_r1.files import UserError, read_json, read_jsonl, write_text
    from vision_r1.report import gallery, page, provenance
    from vision_r1.report.datasheet import choose_overlays, overlay
    from vision_r1.report.results import read_csv
    from vision_r1.run_folder import Run

    run = Run.read(args.run)
    if not run.results.is_file():
        raise UserError(f"{run.results}: no such file; write it with tabulate_results.py")
    config, results = run.config, read_csv(run.results)

    def there(files: Mapping[T, Path]) -> dict[T, Path]:
        return {key: file for key, file in files.items() if file.is_file()}

    def found(file: Path, missing: Any = None) -> Any:
        return read_json(file) if file.is_file() else missing

    metrics = there({pair: run.metrics(*pair) for pair in run.scored(run.checkpoints)})
    trainings = there({name: run.training(name) for name in run.checkpoints})
    predictions = there({pair: run.predictions(*pair) for pair in run.gallery})
    annotations = there({name: Path(run.place(name, "annotations")) for name in run.tested})
    rows = read_jsonl(run.train_file()) if run.train_file().is_file() else []
    galleries = gallery.galleries(
        {pair: read_jsonl(file) for pair, file in predictions.items()},
        {name: read_coco(name, file) for name, file in annotations.items()},
        results,
        page.expected_benchmarks(run, results),
        config["evaluation"],
        seed=config["seed"],
    )
    named = {
        "every score in one table": run.results,
        "intervals of the differences, p": run.comparison,
        "published numbers": run.anchors("all"),
        "training data": run.curation(),
        "checksums of the inputs": run.checksums,
        **{f"scores of {checkpoint} on {suite}": file for (checkpoint, suite), file in metrics.items()},
        **{f"training of {checkpoint}": file for checkpoint, file in trainings.items()},
    }
    inputs = page.Inputs(
        results=results,
        run=run,
        presets=presets(args.config),
        training={checkpoint: read_json(file) for checkpoint, file in trainings.items()},
        galleries=galleries,
        curation=found(run.curation()),
        comparison=read_comparison(run.comparison) if run.comparison.is_file() else None,
        metrics={pair: read_json(file) for pair, file in metrics.items()},
        anchors=found(run.anchors("all"), ()),
        datasheet=found(run.datasheet),
        overlays=[overlay(row) for row in choose_overlays(rows, args.samples, config["seed"])],
        jobs=provenance.read_jobs(run.costs, run.costs_shown, args.gpus),
        gpus=args.gpus,
        checksums=found(run.checksums, ()),
        targets=[(what, str(file)) for what, file in there(named).items()],
        snakemake=args.snakemake,
    )
    write_text(run.page, page.render(inputs))


if __name__ == "__main__":
    cli.run(main)
