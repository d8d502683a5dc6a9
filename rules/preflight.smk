"""What a run will do and need, before it runs."""


rule preflight:
    """Print batches, tokens, memory, disk, hours and price, and where the arms differ. Runs each time it is asked for."""
    input:
        code=code("check_run.py"),
        config=RESOLVED_CONFIG,
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
        args=[
            *("--train_file", f"{RESULTS}/data/train.jsonl", "--models", f"{RESULTS}/models"),
            *("--output_page", f"{RESULTS}/preflight/preflight.txt"),
            *("--output_summary", f"{RESULTS}/preflight/preflight.json"),
            *dataset_flags(sorted({name for names in SUITES.values() for name in names}), "annotations"),
        ],
    message:
        "Checking the run"
    shell:
        "python workflow/scripts/check_run.py --config {input.config:q} {params.args:q} 2> {log:q}"
