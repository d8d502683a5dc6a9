"""Tables, figures and the HTML page."""

import shlex


localrules:
    draw_rulegraph,


rule tabulate_results:
    """Gather the scores of all checkpoints into one long table, and write the report's tables."""
    input:
        code=code("tabulate_results.py"),
        metrics=METRICS,
        comparison="<results>/tables/comparison.json",
        anchors="<results>/anchors/all.json",
        config=RESOLVED_CONFIG,
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
        seed=config["seed"],
        metrics=word_file("tabulate_results", metrics_flags(CHECKPOINTS)),
        folder=subpath(output[0], parent=True),
    message:
        "Gathering the scores of all checkpoints"
    shell:
        "python workflow/scripts/tabulate_results.py --seed {params.seed} {params.metrics:q}"
        " --comparison {input.comparison:q} --anchors {input.anchors:q} --config {input.config:q}"
        " --presets config --output_directory {params.folder:q} > {log:q} 2>&1"


rule tabulate_published:
    """Lay a published table out in its own shape, ours beside theirs."""
    input:
        code=code("tabulate_published.py"),
        published="config/published.yaml",
        config=RESOLVED_CONFIG,
        presets=PRESETS,
        metrics=lambda wildcards: table_metrics(wildcards.table).values(),
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
        metrics=lambda wildcards: table_flags(wildcards.table),
        folder=subpath(output[0], parent=True),
    message:
        "Setting our numbers beside {wildcards.table}"
    shell:
        "python workflow/scripts/tabulate_published.py --published {input.published:q} --table {wildcards.table:q}"
        " --config {input.config:q} --presets config {params.metrics:q} --output_directory {params.folder:q}"
        " > {log:q} 2>&1"


rule plot_results:
    """Draw the figures, each as SVG and PNG."""
    input:
        code=code("plot_results.py"),
        style="workflow/scripts/vision_r1/report/style.mplstyle",
        config=RESOLVED_CONFIG,
        results="<results>/tables/results.csv",
        metrics=METRICS,
        histories=of_checkpoints(WITH_HISTORY, "history.jsonl"),
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
        note=optional("--note", config["report"]["banner"]),
        files=word_file(
            "plot_results",
            pairs("--history", WITH_HISTORY, of_checkpoints(WITH_HISTORY, "history.jsonl"))
            + metrics_flags(CHECKPOINTS),
        ),
        folder=subpath(output[0], parent=True),
    message:
        "Drawing the figures"
    shell:
        "python workflow/scripts/plot_results.py --config {input.config:q} --results {input.results:q} {params.files:q} {params.note:q}"
        " --output_directory {params.folder:q} > {log:q} 2>&1"


rule checksum_inputs:
    """Write the checksums of what the run started from."""
    input:
        code=code("checksum_inputs.py"),
        weights="<results>/models/base/model",
        train="<results>/data/train.jsonl",
        index="<results>/data/images.jsonl",
        files=files_of([*TRAIN, *TEST]),
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
        files=checksum_flags(),
    message:
        "Hashing the inputs"
    shell:
        "python workflow/scripts/checksum_inputs.py {params.files:q} --weights {input.weights:q}"
        " --index {input.index:q} --output {output:q} > {log:q} 2>&1"


rule draw_rulegraph:
    """Draw the pipeline with the times of its jobs; Snakemake itself says what follows what."""
    input:
        code=code("draw_rulegraph.py"),
        style="workflow/scripts/vision_r1/report/style.mplstyle",
        before=[*rules.plot_results.output, "<results>/tables/comparison.json", "<results>/anchors/all.json"],
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
        command=["python", "-m", *this_command("--rulegraph", "--nolock"), "all"],
        benchmarks=f"{RESULTS}/benchmarks",
        stem=lambda wildcards, output: os.path.splitext(output.svg)[0],
    message:
        "Drawing the pipeline"
    shell:
        "({params.command:q} | python workflow/scripts/draw_rulegraph.py --benchmarks {params.benchmarks:q}"
        " --output {params.stem:q}) > {log:q} 2>&1"


rule render_report:
    """Write the report: one HTML file that opens from disk."""
    input:
        code=code("render_report.py"),
        templates=TEMPLATES,
        config=RESOLVED_CONFIG,
        results="<results>/tables/results.csv",
        metrics=METRICS,
        comparison="<results>/tables/comparison.json",
        anchors="<results>/anchors/all.json",
        figures=rules.plot_results.output,
        rulegraph=rules.draw_rulegraph.output,
        presets=PRESETS,
        audit="<results>/audit/summary.json",
        curation="<results>/data/curation.json",
        datasheet="<results>/data/datasheet.json",
        train="<results>/data/train.jsonl",
        checksums=rules.checksum_inputs.output,
        training=of_checkpoints(CHECKPOINTS, "metrics.json"),
        predictions=GALLERY_PREDICTIONS.values(),
        files=files_of(TEST),
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
        figures=lambda wildcards, input: os.path.dirname(input.figures[0]),
        predictions=[word for key, file in GALLERY_PREDICTIONS.items() for word in ["--predictions", *key, file]],
        annotations=pairs("--annotations", TEST, [dataset_place(name, "annotations") for name in TEST]),
        files=word_file(
            "render_report",
            pairs("--training", CHECKPOINTS, of_checkpoints(CHECKPOINTS, "metrics.json")) + metrics_flags(CHECKPOINTS),
        ),
        audit=subpath(input.audit, parent=True),
        benchmarks=f"{RESULTS}/benchmarks",
        gpus=lambda wildcards: gpus_of_rules(),
        command=shlex.join(this_command("--force")),
    message:
        "Writing the report"
    shell:
        "python workflow/scripts/render_report.py --config {input.config:q} --results {input.results:q}"
        " --comparison {input.comparison:q} --anchors {input.anchors:q}"
        " {params.files:q} --figures {params.figures:q} {params.predictions:q} {params.annotations:q}"
        " --audit {params.audit:q} --datasheet {input.datasheet:q} --train_file {input.train:q}"
        " --curation {input.curation:q} --checksums {input.checksums:q} --presets config"
        " --benchmarks {params.benchmarks:q} {params.gpus:q} --snakemake {params.command:q}"
        " --output {output:q} > {log:q} 2>&1"


rule release_checkpoint:
    """Lay a trained checkpoint out to be handed on: its weights and a model card."""
    input:
        code=code("release_checkpoint.py"),
        template="workflow/scripts/vision_r1/report/templates/card.md.j2",
        config=RESOLVED_CONFIG,
        model="<results>/models/{checkpoint}/model",
        base="<results>/models/base/model",
        training="<results>/models/{checkpoint}/metrics.json",
        curation=lambda wildcards: data_file(experiments.split_checkpoint(wildcards.checkpoint)[0], "curation.json"),
        comparison="<results>/tables/comparison.json",
    output:
        directory("<results>/release/{checkpoint}"),
    log:
        "<logs>/release_checkpoint/{checkpoint}.log",
    benchmark:
        "<benchmarks>/release_checkpoint/{checkpoint}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(60),
        gpu=0,
    params:
        licences=licence_flags(),
    message:
        "Writing the model card of {wildcards.checkpoint}"
    shell:
        "python workflow/scripts/release_checkpoint.py --checkpoint {wildcards.checkpoint:q} --config {input.config:q}"
        " --model {input.model:q} --base {input.base:q} --training {input.training:q} --curation {input.curation:q}"
        " --comparison {input.comparison:q} {params.licences:q} --output {output:q} > {log:q} 2>&1"
