"""Predict (needs the model), score (needs only the predictions), compare, and check against published numbers."""


rule predict_suite:
    """Write one checkpoint's completions for every prompt of a suite."""
    input:
        model="<results>/models/{checkpoint}/model",
        files=by_suite(lambda suite: ready(DATASETS_OF[suite])),
    output:
        "<results>/predictions/{checkpoint}/{suite}.jsonl",
    log:
        "<logs>/predict_suite/{checkpoint}/{suite}.log",
    benchmark:
        "<benchmarks>/predict_suite/{checkpoint}/{suite}.tsv"
    conda:
        "../environment.yml"
    threads: compute("predict_suite", "threads")
    resources:
        mem_mb=compute("predict_suite", "mem_mb"),
        runtime=compute("predict_suite", "runtime"),
        gpu=compute("predict_suite", "gpu"),
        nodes=compute("predict_suite", "nodes"),
    params:
        code=code("predict_suite.py"),
        launch=config["compute"]["launch_predict"],
        args=by_suite(lambda suite: flags.of_prediction(RUN, suite)),
        # files, on_gpu: not in the command; a change runs the job again.
        files=flags.files_among(config["compute"]["launch_predict"]),
        on_gpu=compute("predict_suite", "gpu") > 0,
    message:
        "Predicting {wildcards.suite} with {wildcards.checkpoint}; progress in {log}"
    shell:
        f"exec python {SCRIPTS}/launch_job.py"
        " --lock {log:q}.lock --gpus {resources.gpu:q} --nodes {resources.nodes:q} --"
        f" {{params.launch:q}} {SCRIPTS}/predict_suite.py"
        " --checkpoint {input.model:q} {params.args:q}"
        " --output_predictions {output:q} > {log:q} 2>&1"


rule score_suite:
    """Score completions, per data set and protocol."""
    input:
        predictions="<results>/predictions/{checkpoint}/{suite}.jsonl",
        files=by_suite(lambda suite: ready(DATASETS_OF[suite])),
    output:
        metrics="<results>/metrics/{checkpoint}/{suite}.json",
        resamples="<results>/metrics/{checkpoint}/{suite}.resamples.npz",
    log:
        "<logs>/score_suite/{checkpoint}/{suite}.log",
    benchmark:
        "<benchmarks>/score_suite/{checkpoint}/{suite}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(30),
        gpu=0,
    params:
        code=code("score_suite.py"),
        args=by_suite(lambda suite: flags.of_scoring(RUN, suite)),
    message:
        "Scoring {wildcards.suite} of {wildcards.checkpoint}"
    shell:
        f"python {SCRIPTS}/score_suite.py"
        " --suite {wildcards.suite} {params.args:q} --predictions {input.predictions:q}"
        " --output_metrics {output.metrics:q} --output_resamples {output.resamples:q} > {log:q} 2>&1"


rule compare_checkpoints:
    """Compare every checkpoint with base, where it and its GRPO started, and SFT: paired bootstrap, Holm, regressions."""
    input:
        metrics=files(RUN.metrics, RUN.scored(RUN.checkpoints)),
        resamples=files(RUN.resamples, RUN.scored(RUN.checkpoints)),
    output:
        json="<results>/tables/comparison.json",
        csv=report("<results>/tables/comparison.csv", caption="../docs/captions/comparison.rst", category="Tables"),
    log:
        "<logs>/compare_checkpoints.log",
    benchmark:
        "<benchmarks>/compare_checkpoints.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("compare_checkpoints.py"),
        run=subpath(output.json, ancestor=2),
        settings=[RUN.scored(RUN.checkpoints), RUN.compared],  # what the program takes from the configuration
    message:
        "Comparing the checkpoints"
    shell:
        f"python {SCRIPTS}/compare_checkpoints.py"
        " --run {params.run:q}"
        " --output_json {output.json:q} --output_csv {output.csv:q} > {log:q} 2>&1"


rule check_anchors:
    """Set published numbers beside ours: of the base model, or of all checkpoints."""
    input:
        published=PUBLISHED,
        metrics=lambda wildcards: files(RUN.metrics, RUN.scored(ANCHORED[wildcards.scope])),
    output:
        "<results>/anchors/{scope}.json",
    log:
        "<logs>/check_anchors/{scope}.log",
    benchmark:
        "<benchmarks>/check_anchors/{scope}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(10),
        gpu=0,
    params:
        code=code("check_anchors.py"),
        settings=settings("model"),
        run=subpath(output[0], ancestor=2),
        stop=lambda wildcards: ["--stop"] if (wildcards.scope, EVALUATION["anchors"]) == ("gate", "stop") else [],
    message:
        "Comparing with published numbers ({wildcards.scope})"
    shell:
        f"python {SCRIPTS}/check_anchors.py"
        " --run {params.run:q} --published {input.published:q}"
        " --scope {wildcards.scope:q} {params.stop:q} --output_json {output:q} > {log:q} 2>&1"
