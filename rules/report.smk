"""Tables, figures and the HTML page."""


rule tabulate_results:
    """Gather the scores of all checkpoints into one long table."""
    input:
        code=code("tabulate_results.py"),
        metrics=METRICS,
    output:
        csv=report("<results>/tables/results.csv", caption="../docs/captions/results.rst", category="Tables"),
        markdown=report("<results>/tables/results.md", caption="../docs/captions/results.rst", category="Tables"),
        latex=report("<results>/tables/results.tex", caption="../docs/captions/results.rst", category="Tables"),
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
        banner=optional("--banner", config["report"]["banner"]),
        metrics=metrics_flags(CHECKPOINTS),
    message:
        "Gathering the scores of all checkpoints"
    shell:
        "python workflow/scripts/tabulate_results.py --seed {params.seed} {params.banner:q} {params.metrics:q}"
        " --output_csv {output.csv:q} --output_markdown {output.markdown:q}"
        " --output_latex {output.latex:q} > {log:q} 2>&1"


rule plot_results:
    """Draw the figures, each as SVG and PNG."""
    input:
        code=code("plot_results.py"),
        style="workflow/scripts/vision_r1/report/style.mplstyle",
        results="<results>/tables/results.csv",
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
        histories=lambda wildcards, input: pairs("--history", WITH_HISTORY, input.histories),
        folder=subpath(output[0], parent=True),
    message:
        "Drawing the figures"
    shell:
        "python workflow/scripts/plot_results.py --results {input.results:q} {params.histories:q} {params.note:q}"
        " --output_directory {params.folder:q} > {log:q} 2>&1"


rule render_report:
    """Write the report: one HTML file that opens from disk."""
    input:
        code=code("render_report.py"),
        templates=[
            "workflow/scripts/vision_r1/report/templates/report.html.j2",
            "workflow/scripts/vision_r1/report/templates/report.css",
        ],
        config=RESOLVED_CONFIG,
        results="<results>/tables/results.csv",
        metrics=METRICS,
        comparison="<results>/tables/comparison.json",
        anchors="<results>/anchors/all.json",
        figures=rules.plot_results.output,
        curation="<results>/data/curation.json",
        training=of_checkpoints(CHECKPOINTS, "metrics.json"),
        predictions=[f"{RESULTS}/predictions/{checkpoint}/{GALLERY_SUITE}.jsonl" for checkpoint in GALLERY],
        files=files_of(SUITES[GALLERY_SUITE]),
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
        training=lambda wildcards, input: pairs("--training", CHECKPOINTS, input.training),
        predictions=lambda wildcards, input: pairs("--predictions", GALLERY, input.predictions),
        annotations=pairs(
            "--annotations",
            SUITES[GALLERY_SUITE],
            [dataset_place(name, "annotations") for name in SUITES[GALLERY_SUITE]],
        ),
        metrics=metrics_flags(CHECKPOINTS),
        benchmarks=f"{RESULTS}/benchmarks",
        command=this_command(),
    message:
        "Writing the report"
    shell:
        "python workflow/scripts/render_report.py --config {input.config:q} --results {input.results:q}"
        " --comparison {input.comparison:q} --anchors {input.anchors:q}"
        " {params.metrics:q} --figures {params.figures:q} {params.training:q} {params.predictions:q} {params.annotations:q}"
        " --curation {input.curation:q} --benchmarks {params.benchmarks:q} --snakemake {params.command:q}"
        " --output {output:q} > {log:q} 2>&1"
