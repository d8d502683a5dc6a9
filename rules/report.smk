"""Tables, figures and the HTML page."""

import shlex


localrules:
    draw_rulegraph,


rule tabulate_results:
    """Gather the scores of all checkpoints into one long table, and write the report's tables."""
    input:
        metrics=files(RUN.metrics, RUN.scored(RUN.checkpoints)),
        comparison="<results>/tables/comparison.json",
        anchors="<results>/anchors/all.json",
        presets=PRESETS,
    output:
        [
            report(f"<results>/tables/{sheet}.{kind}", caption="../docs/captions/results.rst", category="Tables")
            for sheet in ["results", *SHEETS]
            for kind in ["csv", "md", "tex"]
        ],
    log:
        "<logs>/tabulate_results.log",
    benchmark:
        "<benchmarks>/tabulate_results.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("tabulate_results.py"),
        settings=settings("seed", *METHOD),
        run=subpath(output[0], ancestor=2),
    message:
        "Gathering the scores of all checkpoints"
    shell:
        f"python {SCRIPTS}/tabulate_results.py{PRESETS_FLAG}" " --run {params.run:q} > {log:q} 2>&1"


rule tabulate_published:
    """Lay a published table out in its own shape, ours beside theirs."""
    input:
        published=PUBLISHED,
        presets=PRESETS,
        metrics=lambda wildcards: files(
            RUN.metrics, RUN.measurable(TABLES[wildcards.table].measured(config["model"]["id"]))
        ),
    output:
        [f"<results>/report/tables/{{table}}.{kind}" for kind in ["csv", "md", "tex"]],
    log:
        "<logs>/tabulate_published/{table}.log",
    benchmark:
        "<benchmarks>/tabulate_published/{table}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("tabulate_published.py"),
        settings=settings(*METHOD),
        run=subpath(output[0], ancestor=3),
    message:
        "Setting our numbers beside {wildcards.table}"
    shell:
        f"python {SCRIPTS}/tabulate_published.py{PRESETS_FLAG}"
        " --run {params.run:q} --table {wildcards.table:q} > {log:q} 2>&1"


rule plot_results:
    """Draw the figures, each as SVG and PNG."""
    input:
        style=STYLE,
        presets=PRESETS,
        results="<results>/tables/results.csv",
        metrics=files(RUN.metrics, RUN.scored(RUN.checkpoints)),
        histories=files(RUN.history, RUN.trained),
    output:
        [
            report(f"<results>/figures/{figure}.{kind}", caption=f"../docs/captions/{figure}.rst", category="Figures")
            for figure in FIGURES
            for kind in ["svg", "png"]
        ],
    log:
        "<logs>/plot_results.log",
    benchmark:
        "<benchmarks>/plot_results.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("plot_results.py"),
        settings=settings(*METHOD),
        run=subpath(output[0], ancestor=2),
    message:
        "Drawing the figures"
    shell:
        f"python {SCRIPTS}/plot_results.py{PRESETS_FLAG}" " --run {params.run:q} > {log:q} 2>&1"


rule checksum_inputs:
    """Write the checksums of what the run started from."""
    input:
        weights="<results>/models/base/model",
        train="<results>/data/train.jsonl",
        index="<results>/data/images.jsonl",
        files=ready([*RUN.trained_on, *RUN.tested]),
    output:
        "<results>/checksums.json",
    log:
        "<logs>/checksum_inputs.log",
    benchmark:
        "<benchmarks>/checksum_inputs.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(60),
        gpu=0,
    params:
        code=code("checksum_inputs.py"),
        files=flags.of_checksums(RUN),
    message:
        "Hashing the inputs"
    shell:
        f"python {SCRIPTS}/checksum_inputs.py"
        " {params.files:q} --weights {input.weights:q}"
        " --index {input.index:q} --output_json {output:q} > {log:q} 2>&1"


rule draw_rulegraph:
    """Draw the pipeline with the times of its jobs; Snakemake itself says what follows what."""
    input:
        style=STYLE,
        # All that the report waits for, so that its times don't depend on chance.
        before=[
            *rules.plot_results.output,
            *[f"<results>/{file}.json" for file in ("tables/comparison", "anchors/all", "audit/summary", "checksums")],
            "<results>/data/datasheet.json",
        ],
    output:
        svg=report("<results>/figures/rulegraph.svg", caption="../docs/captions/rulegraph.rst", category="Figures"),
        png=report("<results>/figures/rulegraph.png", caption="../docs/captions/rulegraph.rst", category="Figures"),
    log:
        "<logs>/draw_rulegraph.log",
    benchmark:
        "<benchmarks>/draw_rulegraph.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("draw_rulegraph.py"),
        command=["python", "-m", *this_command("--rulegraph", "--nolock"), workflow.modifier.modify_rulename("all")],
        run=subpath(output.svg, ancestor=2),
    message:
        "Drawing the pipeline"
    shell:
        f"({{params.command:q}} | python {SCRIPTS}/draw_rulegraph.py" " --run {params.run:q}) > {log:q} 2>&1"


rule render_report:
    """Write the report: one HTML file that opens from disk."""
    input:
        # All but those of the card and the datasheet.
        templates=[str(file) for file in sorted(TEMPLATES.glob("[!cdp]*"))],
        results="<results>/tables/results.csv",
        metrics=files(RUN.metrics, RUN.scored(RUN.checkpoints)),
        comparison="<results>/tables/comparison.json",
        anchors="<results>/anchors/all.json",
        # Paths, not outputs of rules: with one of these among a rule's inputs, Snakemake hashes a whole list, such as
        # that of all metrics, once for each of its files.
        figures=[f"<results>/figures/{figure}.{kind}" for figure in [*FIGURES, "rulegraph"] for kind in ["svg", "png"]],
        presets=PRESETS,
        audit="<results>/audit/summary.json",
        curation="<results>/data/curation.json",
        datasheet="<results>/data/datasheet.json",
        train="<results>/data/train.jsonl",
        checksums="<results>/checksums.json",
        training=files(RUN.training, RUN.checkpoints),
        predictions=files(RUN.predictions, RUN.gallery),
        files=ready(RUN.tested),
    output:
        report("<results>/report/index.html", caption="../docs/captions/report.rst", category="Report"),
    log:
        "<logs>/render_report.log",
    benchmark:
        "<benchmarks>/render_report.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("render_report.py"),
        settings=settings(*config),  # the page shows all of them
        run=subpath(output[0], ancestor=2),
        gpus=lambda wildcards: gpus_of_rules(),
        command=shlex.join(this_command("--force")),
    message:
        "Writing the report"
    shell:
        f"python {SCRIPTS}/render_report.py{PRESETS_FLAG}"
        " --run {params.run:q} {params.gpus:q} --snakemake {params.command:q}"
        " > {log:q} 2>&1"


rule release_checkpoint:
    """Write a trained checkpoint as a folder to hand on: its weights and a model card."""
    input:
        template=f"{TEMPLATES}/card.md.j2",
        presets=PRESETS,
        model="<results>/models/{checkpoint}/model",
        base="<results>/models/base/model",
        training="<results>/models/{checkpoint}/metrics.json",
        example=f"{TEMPLATES}/card_use.py.j2",
        curation=lambda wildcards: str(RUN.curation(experiments.split_checkpoint(wildcards.checkpoint)[0])),
        train=lambda wildcards: str(RUN.train_file(experiments.split_checkpoint(wildcards.checkpoint)[0])),
        comparison="<results>/tables/comparison.json",
    output:
        directory("<results>/release/{checkpoint}"),
    log:
        "<logs>/release_checkpoint/{checkpoint}.log",
    benchmark:
        "<benchmarks>/release_checkpoint/{checkpoint}.tsv"
    wildcard_constraints:
        checkpoint=r"(?!base$)[\w/]+",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(60),
        gpu=0,
    params:
        code=code("release_checkpoint.py"),
        settings=settings("run", "seed", *METHOD),
        licences=places.licences(config, RUN.trained_on),
        run=RUN.folder,
    message:
        "Writing the model card of {wildcards.checkpoint}"
    shell:
        f"python {SCRIPTS}/release_checkpoint.py{PRESETS_FLAG}"
        " --run {params.run:q} --checkpoint {wildcards.checkpoint:q}"
        " --output_folder {output:q} > {log:q} 2>&1"
