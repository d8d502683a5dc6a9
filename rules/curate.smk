"""Made scenes, and the training file."""


rule make_scenes:
    """Draw one set of made scenes with a COCO-format annotation file."""
    input:
        code=code("make_scenes.py"),
    output:
        annotations="<results>/data/scenes/{dataset}/annotations.json",
        images=directory("<results>/data/scenes/{dataset}/images"),
    log:
        "<logs>/make_scenes/{dataset}.log",
    benchmark:
        "<benchmarks>/make_scenes/{dataset}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        scenes=lambda wildcards: scene_flags(wildcards.dataset),
    message:
        "Drawing the scenes of {wildcards.dataset}"
    shell:
        "python workflow/scripts/make_scenes.py {params.scenes:q}"
        " --annotations {output.annotations:q} --images {output.images:q} > {log:q} 2>&1"


rule curate_train:
    """Turn annotations into the training file: one prompt with its objects a line."""
    input:
        code=code("curate_train.py"),
        files=files_of(config["data"]["train"]),
    output:
        train="<results>/data/train.jsonl",
        summary="<results>/data/curation.json",
    log:
        "<logs>/curate_train.log",
    benchmark:
        "<benchmarks>/curate_train.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=0,
    params:
        args=curation_flags(),
    message:
        "Curating the training file"
    shell:
        "python workflow/scripts/curate_train.py {params.args:q}"
        " --output {output.train:q} --summary {output.summary:q} > {log:q} 2>&1"
