"""The SFT arm: the same data as GRPO, imitated instead of rewarded."""


rule train_sft:
    """Fine-tune the base model on the ground truth answers: the baseline, or that of an experiment."""
    input:
        train=lambda wildcards: str(RUN.train_file(experiments.split_checkpoint(wildcards.sft)[0])),
        init="<results>/models/base/model",
    output:
        model=directory("<results>/models/{sft}/model"),
        history="<results>/models/{sft}/history.jsonl",
        metrics="<results>/models/{sft}/metrics.json",
    log:
        "<logs>/train_sft/{sft}.log",
    benchmark:
        "<benchmarks>/train_sft/{sft}.tsv"
    conda:
        "../environment.yml"
    threads: compute("train_sft", "threads")
    resources:
        mem_mb=compute("train_sft", "mem_mb"),
        runtime=compute("train_sft", "runtime"),
        gpu=compute("train_sft", "gpu"),
        nodes=compute("train_sft", "nodes"),
    params:
        code=code("train_sft.py"),
        stamp=RUN.code("train_sft.py"),
        launch=config["compute"]["launch"],
        model=lambda wildcards: flags.of_training(config, "train_sft", experiments.split_checkpoint(wildcards.sft)[0]),
        args=lambda wildcards: flags.of_stage(config, wildcards.sft),
        # files, on_gpu: not in the command; a change runs the job again.
        files=lambda wildcards: flags.files_of_stage(config, wildcards.sft),
        on_gpu=compute("train_sft", "gpu") > 0,
        folder=subpath(output.metrics, parent=True),
        watch=watched("train_sft", "report_to"),
    message:
        "Training the SFT arm {wildcards.sft}; progress in {log}"
    shell:
        f"exec python {SCRIPTS}/launch_job.py"
        " --lock {log:q}.lock --gpus {resources.gpu:q} --nodes {resources.nodes:q} --"
        f" {{params.launch:q}} {SCRIPTS}/train_sft.py"
        " {params.model:q} {params.args:q}"
        " --train_file {input.train:q} --init {input.init:q} --state {params.folder:q}/state"
        " --gpus {resources.gpu:q} --config {params.watch:q}"
        " --output_model {output.model:q} --output_history {output.history:q} --output_metrics {output.metrics:q}"
        " --code {params.stamp:q} > {log:q} 2>&1"
