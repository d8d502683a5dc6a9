"""The ablations: every experiment of section ablations over its training seeds, as one table and one figure."""


rule tabulate_ablations:
    """Tabulate mean and spread over training seeds, and what each experiment changes against the first one."""
    input:
        code=code("tabulate_ablations.py"),
        style="workflow/scripts/vision_r1/report/style.mplstyle",
        config=RESOLVED_CONFIG,
        curation="<results>/data/curation.json",
        published="config/published.yaml",
        presets=PRESETS,
        metrics=metrics_files(ABLATED),
        resamples=resamples_files(ABLATED),
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
        run=subpath(output[0], ancestor=2),
    message:
        "Tabulating the ablations"
    shell:
        "python workflow/scripts/tabulate_ablations.py --run {params.run:q} > {log:q} 2>&1"
