"""The ablations: every experiment of section ablations over its training seeds, as one table and one figure."""


rule tabulate_ablations:
    """Tabulate mean and spread over training seeds, and what each experiment changes against the first one."""
    input:
        style=STYLE,
        curation=sorted({str(RUN.curation(experiments.split_checkpoint(name)[0])) for name in TRAINED_IN_ABLATIONS}),
        published=PUBLISHED,
        presets=PRESETS,
        metrics=files(RUN.metrics, RUN.scored(ABLATED)),
        resamples=files(RUN.resamples, RUN.scored(ABLATED)),
    output:
        [
            report(f"<results>/tables/ablations.{kind}", caption="../docs/captions/ablations.rst", category="Tables")
            for kind in ("csv", "md", "tex")
        ],
        [
            report(f"<results>/figures/ablations.{kind}", caption="../docs/captions/ablations.rst", category="Figures")
            for kind in ("svg", "png")
        ],
    log:
        "<logs>/tabulate_ablations.log",
    benchmark:
        "<benchmarks>/tabulate_ablations.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("tabulate_ablations.py"),
        settings=settings("ablations", *METHOD),
        run=subpath(output[0], ancestor=2),
    message:
        "Tabulating the ablations"
    shell:
        f"python {SCRIPTS}/tabulate_ablations.py{PRESETS_FLAG}" " --run {params.run:q} > {log:q} 2>&1"
