"""GRPO with the vision-guided reward: stage 1, then stage 2 with stricter thresholds.

An experiment's grpo.refinement decides how stage 2 follows: `restart` starts from stage 1's model, `continuous` goes
on from its last trainer checkpoint, which stage 1 then has as one more output.
"""


rule train_grpo_stage1:
    """Train the first GRPO stage from the checkpoint that its `init` names."""
    input:
        code=code("train_grpo.py"),
        train=lambda wildcards: data_file(wildcards.experiment),
        init=init_of("grpo_stage1"),
        reference=reference_model("grpo_stage1"),
        anchors=ANCHORS_GATE,
    output:
        model=directory("<results>/models/{experiment}/grpo_stage1/model"),
        history="<results>/models/{experiment}/grpo_stage1/history.jsonl",
        completions="<results>/models/{experiment}/grpo_stage1/completions.jsonl",
        metrics="<results>/models/{experiment}/grpo_stage1/metrics.json",
    log:
        "<logs>/train_grpo_stage1/{experiment}.log",
    benchmark:
        "<benchmarks>/train_grpo_stage1/{experiment}.tsv"
    wildcard_constraints:
        experiment=refined("restart"),
    priority: 1  # the longest way to the report: before predictions and the SFT arm
    conda:
        "../environment.yml"
    threads: compute("train_grpo", "threads")
    resources:
        mem_mb=more(compute("train_grpo", "mem_mb")),
        runtime=compute("train_grpo", "runtime"),
        gpu=compute("train_grpo", "gpu"),
        nodes=compute("train_grpo", "nodes"),
    params:
        launch=config["compute"]["launch"],
        model=lambda wildcards: train_flags("train_grpo", wildcards.experiment),
        args=lambda wildcards: stage_flags(wildcards.experiment, "grpo_stage1"),
        chain=[],
        folder=subpath(output.metrics, parent=True),
        watch=watch("train_grpo", "report_to", "sample_steps", "sample_count"),
    message:
        "Training {wildcards.experiment}, {rule}; progress in {log}"
    shell:
        "exec python workflow/scripts/launch_job.py --lock {log:q}.lock --gpus {resources.gpu:q} --nodes {resources.nodes:q} --"
        " {params.launch:q} workflow/scripts/train_grpo.py {params.model:q} {params.args:q} {params.chain:q}"
        " --train_file {input.train:q} --init {input.init:q} --reference {input.reference:q}"
        " --state {params.folder:q}/state --gpus {resources.gpu:q} --completions {output.completions:q} --config {params.watch:q}"
        " --output_model {output.model:q} --history {output.history:q} --metrics {output.metrics:q}"
        " --code {input.code:q} > {log:q} 2>&1"


use rule train_grpo_stage1 as train_grpo_stage1_continuous with:
    output:
        model=directory("<results>/models/{experiment}/grpo_stage1/model"),
        checkpoint=directory("<results>/models/{experiment}/grpo_stage1/checkpoint"),
        history="<results>/models/{experiment}/grpo_stage1/history.jsonl",
        completions="<results>/models/{experiment}/grpo_stage1/completions.jsonl",
        metrics="<results>/models/{experiment}/grpo_stage1/metrics.json",
    wildcard_constraints:
        experiment=refined("continuous"),
    params:
        launch=config["compute"]["launch"],
        model=lambda wildcards: train_flags("train_grpo", wildcards.experiment),
        args=lambda wildcards: stage_flags(wildcards.experiment, "grpo_stage1"),
        chain=lambda wildcards, output: ["--output_checkpoint", output.checkpoint],
        folder=subpath(output.metrics, parent=True),
        watch=watch("train_grpo", "report_to", "sample_steps", "sample_count"),


use rule train_grpo_stage1 as train_grpo_stage2 with:
    input:
        code=code("train_grpo.py"),
        train=lambda wildcards: data_file(wildcards.experiment),
        init=init_of("grpo_stage2"),
        reference=reference_model("grpo_stage2"),
        anchors=ANCHORS_GATE,
    output:
        model=directory("<results>/models/{experiment}/grpo_stage2/model"),
        history="<results>/models/{experiment}/grpo_stage2/history.jsonl",
        completions="<results>/models/{experiment}/grpo_stage2/completions.jsonl",
        metrics="<results>/models/{experiment}/grpo_stage2/metrics.json",
    log:
        "<logs>/train_grpo_stage2/{experiment}.log",
    benchmark:
        "<benchmarks>/train_grpo_stage2/{experiment}.tsv"
    params:
        launch=config["compute"]["launch"],
        model=lambda wildcards: train_flags("train_grpo", wildcards.experiment),
        args=lambda wildcards: stage_flags(wildcards.experiment, "grpo_stage2"),
        chain=[],
        folder=subpath(output.metrics, parent=True),
        watch=watch("train_grpo", "report_to", "sample_steps", "sample_count"),


use rule train_grpo_stage2 as train_grpo_stage2_continuous with:
    input:
        code=code("train_grpo.py"),
        train=lambda wildcards: data_file(wildcards.experiment),
        init=init_of("grpo_stage2"),
        reference=reference_model("grpo_stage2"),
        checkpoint=init_of("grpo_stage2", "checkpoint"),
    wildcard_constraints:
        experiment=refined("continuous"),
    params:
        launch=config["compute"]["launch"],
        model=lambda wildcards: train_flags("train_grpo", wildcards.experiment),
        args=lambda wildcards: stage_flags(wildcards.experiment, "grpo_stage2"),
        chain=lambda wildcards, input: ["--continue_from", input.checkpoint],
        folder=subpath(output.metrics, parent=True),
        watch=watch("train_grpo", "report_to", "sample_steps", "sample_count"),
