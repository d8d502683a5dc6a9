"""What a run will do and need, before it runs."""


rule preflight:
    """Print batches, tokens, memory, disk, hours and price, and where the arms differ. Never up to date: it always runs."""
    log:
        "<logs>/preflight.log",
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(15),
        gpu=0,
    params:
        # Neither inputs, so that nothing is made for it, nor outputs (nor a benchmark), so that it always runs.
        run=RUN.folder,
    message:
        "Checking the run"
    shell:
        f"python {SCRIPTS}/check_run.py"
        " --run {params.run:q} --output_page {params.run:q}/preflight/preflight.txt"
        " --output_summary {params.run:q}/preflight/preflight.json 2> {log:q}"
