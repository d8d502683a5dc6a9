"""Predict (needs the model) and score (needs only the predictions)."""


rule predict_suite:
    """Write one checkpoint's completions for every prompt of a suite."""
    input:
        code=code("predict_suite.py"),
        model="<results>/models/{checkpoint}/model",
        files=lambda wildcards: files_of(SUITES[wildcards.suite]),
    output:
        "<results>/predictions/{checkpoint}/{suite}.jsonl",
    log:
        "<logs>/predict_suite/{checkpoint}/{suite}.log",
    benchmark:
        "<benchmarks>/predict_suite/{checkpoint}/{suite}.tsv"
    retries: 1
    conda:
        "../environment.yml"
    threads: compute("predict_suite", "threads")
    resources:
        mem_mb=compute("predict_suite", "mem_mb"),
        runtime=compute("predict_suite", "runtime"),
        gpu=compute("predict_suite", "gpu"),
    params:
        model=model_flags("predict_suite"),
        batch_size=EVALUATION["batch_size"],
        datasets=lambda wildcards: dataset_flags(SUITES[wildcards.suite], "annotations", "images"),
        protocols=lambda wildcards: protocol_flags(wildcards.suite),
    message:
        "Predicting {wildcards.suite} with {wildcards.checkpoint}; progress in {log}"
    shell:
        "python workflow/scripts/predict_suite.py --checkpoint {input.model:q} {params.model:q}"
        " --batch_size {params.batch_size} {params.datasets:q} {params.protocols:q}"
        " --output {output:q} > {log:q} 2>&1"


rule score_suite:
    """Score completions with pycocotools, per data set and protocol."""
    input:
        code=code("score_suite.py"),
        predictions="<results>/predictions/{checkpoint}/{suite}.jsonl",
        files=lambda wildcards: files_of(SUITES[wildcards.suite]),
    output:
        "<results>/metrics/{checkpoint}/{suite}.json",
    log:
        "<logs>/score_suite/{checkpoint}/{suite}.log",
    benchmark:
        "<benchmarks>/score_suite/{checkpoint}/{suite}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
        gpu=0,
    params:
        score_policy=EVALUATION["score_policy"],
        datasets=lambda wildcards: dataset_flags(SUITES[wildcards.suite], "annotations"),
    message:
        "Scoring {wildcards.suite} of {wildcards.checkpoint}"
    shell:
        "python workflow/scripts/score_suite.py --suite {wildcards.suite} {params.datasets:q}"
        " --predictions {input.predictions:q} --score_policy {params.score_policy} --output {output:q} > {log:q} 2>&1"
