"""Vision-R1: download -> curate -> base -> SFT | GRPO stage 1 -> stage 2 -> predict -> score -> compare -> report."""

from snakemake.utils import min_version

min_version("9.19")


# For --sdm apptainer alone. Built here, see containers/: nothing is published.
container: "vision-r1.sif"


include: "rules/source.smk"
include: "rules/common.smk"  # reads config/config.yaml, config/datasets.yaml, config/experiments.yaml


pathvars:
    results=str(RUN.folder),
    logs=f"{RUN.folder}/logs",
    benchmarks=f"{RUN.folder}/benchmarks",


include: "rules/preflight.smk"
include: "rules/download.smk"
include: "rules/curate.smk"
include: "rules/audit.smk"
include: "rules/base.smk"
include: "rules/sft.smk"
include: "rules/grpo.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"
include: "rules/ablations.smk"


PROGRAMS.keep()
check_provenance()


onstart:  # not in a plan, which writes nothing
    check_machine()
    write_records()


localrules:
    all,
    preflight,
    data,
    audit,
    models,
    evaluation,
    selection,
    anchors,
    release,
    report,
    ablations,


# The report reads them only while it is written. As inputs of `all`, they are made again if somebody deletes one.
TABLES_AND_FIGURES = [
    rules.tabulate_results.output,
    rules.compare_checkpoints.output,
    rules.plot_results.output,
    rules.draw_rulegraph.output,
    rules.audit_rewards.output,
]


rule all:
    """Everything: data, models, evaluation, the report, and the final checkpoints with their model cards."""
    default_target: True
    input:
        "<results>/report/index.html",
        "<results>/data/datasheet.html",
        TABLES_AND_FIGURES,
        files(RUN.release, FINAL),


rule data:
    """The training file with its datasheet, and every benchmark's images and annotations."""
    input:
        "<results>/data/datasheet.html",
        ready(RUN.tested),


rule audit:
    """What the configured rewards pay for, beside the published ones: table, figure and loopholes."""
    input:
        "<results>/audit/summary.json",


rule models:
    """Every checkpoint that the report shows."""
    input:
        files(RUN.training, RUN.checkpoints),
        files(RUN.model, RUN.checkpoints),


rule evaluation:
    """Scores of every checkpoint on every suite, and their comparison with the base model."""
    input:
        files(RUN.metrics, RUN.scored(RUN.checkpoints)),
        "<results>/tables/comparison.json",


rule anchors:
    """The base model's scores beside published ones, before anything is trained."""
    input:
        "<results>/anchors/base.json",


rule selection:
    """Scores of every checkpoint on the held-out training images: choose on these, never on test numbers."""
    input:
        scored_on_held_out_images,


rule release:
    """The final checkpoints, each a folder with its model card, to load or hand on."""
    input:
        files(RUN.release, FINAL),


rule report:
    """Tables, figures and the HTML page."""
    input:
        "<results>/report/index.html",
        TABLES_AND_FIGURES,


rule ablations:
    """The experiments of section ablations over its training seeds: tables/ablations.md, figures/ablations.png."""
    input:
        rules.tabulate_ablations.output,


# The paper's tables, and later numbers of others: `snakemake table_10` sets ours beside theirs.
for table in TABLES:

    rule:
        name:
            table
        input:
            f"<results>/report/tables/{table}.md",
        localrule: True
