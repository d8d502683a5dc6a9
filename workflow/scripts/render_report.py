"""Write the report of a run: one HTML file that opens from disk, with tables, figures, test images and provenance.

What is not given is called missing in the report.

Example:
  python workflow/scripts/render_report.py --config results/miniature/config.json \\
      --results results/miniature/tables/results.csv --figures results/miniature/figures \\
      --training strict/grpo_stage2 results/miniature/models/strict/grpo_stage2/metrics.json \\
      --predictions base coco results/miniature/predictions/base/coco.jsonl \\
      --predictions strict/grpo_stage2 coco results/miniature/predictions/strict/grpo_stage2/coco.jsonl \\
      --annotations scenes_test results/miniature/data/scenes/scenes_test/annotations.json \\
      --output results/miniature/report/index.html
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vision_r1 import cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.parser(__doc__, word_files=True)
    pair = {"nargs": 2, "action": "append", "default": []}
    parser.add_argument("--results", required=True, metavar="FILE", help="results.csv of tabulate_results.py")
    parser.add_argument("--config", required=True, metavar="FILE", help="the run's resolved configuration, JSON")
    parser.add_argument("--figures", required=True, metavar="DIR", help="folder of plot_results.py")
    parser.add_argument(
        "--training", **pair, metavar=("CHECKPOINT", "FILE"), help="metrics.json of one training; repeat"
    )
    parser.add_argument(
        "--predictions",
        nargs=3,
        action="append",
        default=[],
        metavar=("CHECKPOINT", "SUITE", "FILE"),
        help="predictions on one suite, for the gallery; repeat, first the one to compare with, last the result",
    )
    parser.add_argument(
        "--annotations", **pair, metavar=("DATASET", "FILE"), help="COCO annotations of the gallery's data sets; repeat"
    )
    cli.add_metrics(parser, "for its errors")
    parser.add_argument("--comparison", metavar="FILE", help="comparison (JSON) of compare_checkpoints.py")
    parser.add_argument("--anchors", metavar="FILE", help="published numbers beside ours, of check_anchors.py")
    parser.add_argument("--audit", metavar="DIR", help="folder of audit_rewards.py")
    parser.add_argument("--datasheet", metavar="FILE", help="numbers (JSON) of render_datasheet.py")
    parser.add_argument("--train_file", metavar="FILE", help="training file of curate_train.py, for its samples")
    parser.add_argument("--samples", type=int, default=6, metavar="N", help="training samples to draw")
    parser.add_argument("--curation", metavar="FILE", help="summary of curate_train.py")
    parser.add_argument("--benchmarks", metavar="DIR", help="folder of Snakemake's benchmark files")
    parser.add_argument(
        "--gpus", **pair, metavar=("RULE", "N"), help="GPUs that a job of a rule asks for, for GPU-hours; repeat"
    )
    parser.add_argument("--checksums", metavar="FILE", help="checksums of the inputs, of checksum_inputs.py")
    parser.add_argument("--presets", metavar="DIR", help="folder config/, with the published recipes' presets")
    parser.add_argument("--gallery_images", type=int, default=8, metavar="N", help="images a gallery")
    parser.add_argument(
        "--snakemake", default="snakemake", metavar="COMMAND", help="how a reader starts this run's workflow"
    )
    parser.add_argument("--output", required=True, metavar="FILE")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from vision_r1.configuration import presets
    from vision_r1.data.coco import read_coco
    from vision_r1.files import read_json, read_jsonl, write_text
    from vision_r1.report import gallery, page, provenance
    from vision_r1.report.datasheet import choose_overlays, overlay
    from vision_r1.report.results import read_csv

    results, config = read_csv(args.results), read_json(args.config)
    annotations = {name: read_coco(name, path) for name, path in args.annotations}
    galleries = gallery.galleries(
        {(checkpoint, suite): read_jsonl(path) for checkpoint, suite, path in args.predictions},
        annotations,
        results,
        page.expected_benchmarks(config, results),
        config["evaluation"],
        args.gallery_images,
        config["seed"],
    )
    inputs = page.Inputs(
        results=results,
        config=config,
        figures=Path(args.figures),
        training={checkpoint: read_json(path) for checkpoint, path in args.training},
        galleries=galleries,
        curation=read_json(args.curation) if args.curation else None,
        comparison=read_json(args.comparison) if args.comparison else None,
        metrics={(checkpoint, suite): read_json(path) for checkpoint, suite, path in args.metrics},
        anchors=read_json(args.anchors) if args.anchors else (),
        audit=Path(args.audit) if args.audit else None,
        datasheet=read_json(args.datasheet) if args.datasheet else None,
        overlays=[overlay(row) for row in choose_overlays(read_jsonl(args.train_file), args.samples, config["seed"])]
        if args.train_file
        else (),
        benchmarks=provenance.benchmarks(args.benchmarks) if args.benchmarks else (),
        gpus={rule: int(number) for rule, number in args.gpus},
        checksums=read_json(args.checksums) if args.checksums else (),
        presets=presets(args.presets) if args.presets else {},
        targets=targets(args),
        snakemake=args.snakemake,
    )
    write_text(args.output, page.render(inputs))


def targets(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Pair what the page shows with the file that it stands in."""
    named = {
        "every score in one table": args.results,
        "intervals of the differences, p": args.comparison,
        "published numbers": args.anchors,
        "training data": args.curation,
        "checksums of the inputs": args.checksums,
    }
    found = [(what, file) for what, file in named.items() if file]
    found += [(f"scores of {checkpoint} on {suite}", file) for checkpoint, suite, file in args.metrics]
    return found + [(f"training of {checkpoint}", file) for checkpoint, file in args.training]


if __name__ == "__main__":
    cli.run(main)
