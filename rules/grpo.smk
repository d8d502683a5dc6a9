"""GRPO with the vision-guided reward: stage 1, then stage 2 with stricter thresholds."""


rule train_grpo:
    """Train a GRPO stage from the checkpoint that its `init` names.

    An experiment's grpo.refinement decides how stage 2 follows: `restart` starts from stage 1's model; `continuous`
    resumes its last trainer checkpoint, which stage 1 then keeps (else that folder is empty).
    """
    input:
        train=lambda wildcards: str(RUN.train_file(wildcards.experiment)),
        init=lambda wildcards: str(RUN.model(experiments.parent_checkpoint(config, trained(wildcards)))),
        reference=lambda wildcards: str(RUN.model(experiments.reference_checkpoint(config, trained(wildcards)))),
        checkpoint=lambda wildcards: RUN.resumed(trained(wildcards)),
        anchors=ANCHORS_GATE,
    output:
        model=directory("<results>/models/{experiment}/{stage}/model"),
        checkpoint=directory("<results>/models/{experiment}/{stage}/checkpoint"),
        history="<results>/models/{experiment}/{stage}/history.jsonl",
        completions="<results>/models/{experiment}/{stage}/completions.jsonl",
        metrics="<results>/models/{experiment}/{stage}/metrics.json",
    log:
        "<logs>/train_grpo/{experiment}/{stage}.log",
    benchmark:
        "<benchmarks>/train_grpo/{experiment}/{stage}.tsv"
    priority: 1  # the longest way to the report: before predictions and the SFT arm
    conda:
        "../environment.yml"
    threads: compute("train_grpo", "threads")
    resources:
        mem_mb=compute("train_grpo", "mem_mb"),
        runtime=compute("train_grpo", "runtime"),
        gpu=compute("train_grpo", "gpu"),
        nodes=compute("train_grpo", "nodes"),
    params:
        code=code("train_grpo.py"),
        stamp=RUN.code("train_grpo.py"),
        launch=config["compute"]["launch"],
        model=lambda wildcards: flags.of_training(config, "train_grpo", wildcards.experiment),
        args=lambda wildcards: flags.of_stage(config, trained(wildcards)),
        # files, on_gpu: not in the command; a change runs the job again.
        files=lambda wildcards: flags.files_of_stage(config, trained(wildcards)),
        on_gpu=compute("train_grpo", "gpu") > 0,
        chain=lambda wildcards: [f"--continue_from={file}" for file in RUN.resumed(trained(wildcards))],
        folder=subpath(output.metrics, parent=True),
        watch=watched("train_grpo", "report_to", "sample_steps", "sample_count"),
    message:
        "Training {wildcards.experiment}, {wildcards.stage}; progress in {log}"
    shell:
        f"exec python {SCRIPTS}/launch_job.py"
        " --lock {log:q}.lock --gpus {resources.gpu:q} --nodes {resources.nodes:q} --"
        f" {{params.launch:q}} {SCRIPTS}/train_grpo.py"
        " {params.model:q} {params.args:q} {params.chain:q}"
        " --train_file {input.train:q} --init {input.init:q} --reference {input.reference:q}"
        " --state {params.folder:q}/state --gpus {resources.gpu:q} --config {params.watch:q}"
        " --output_completions {output.completions:q}"
        " --output_model {output.model:q} --output_checkpoint {output.checkpoint:q}"
        " --output_history {output.history:q} --output_metrics {output.metrics:q}"
        " --code {params.stamp:q} > {log:q} 2>&1"
