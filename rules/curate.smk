"""Made scenes, checks of all data, the leakage guard, and the training file with its datasheet."""


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
        mem_mb=more(1000),
        runtime=more(10),
        gpu=0,
    params:
        scenes=lambda wildcards: scene_flags(wildcards.dataset),
    message:
        "Drawing the scenes of {wildcards.dataset}"
    shell:
        "python workflow/scripts/make_scenes.py {params.scenes:q}"
        " --annotations {output.annotations:q} --images {output.images:q} > {log:q} 2>&1"


rule check_dataset:
    """Check one data set: readable, whole, and as large as the register or the lock file says."""
    input:
        code=code("check_dataset.py"),
        files=lambda wildcards: source_files(wildcards.dataset),
    output:
        "<results>/data/checked/{dataset}.json",
    log:
        "<logs>/check_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/check_dataset/{dataset}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(30),
        gpu=0,
    params:
        source=lambda wildcards: source_flags("--source", [wildcards.dataset]),
        id_space=lambda wildcards: id_space_flags([wildcards.dataset]),
        expect=lambda wildcards: expect_flags(wildcards.dataset),
    message:
        "Checking {wildcards.dataset}"
    shell:
        "python workflow/scripts/check_dataset.py {params.source:q} {params.id_space:q} {params.expect:q}"
        " --output {output:q} > {log:q} 2>&1"


rule index_images:
    """Read every image once: size, checksum and hash of looks, for training sources and benchmarks."""
    input:
        code=code("index_images.py"),
        files=files_of([*TRAIN, *BENCHMARKS]),
    output:
        "<results>/data/images.jsonl",
    log:
        "<logs>/index_images.log",
    benchmark:
        "<benchmarks>/index_images.tsv"
    conda:
        "../environment.yml"
    threads: compute("index_images", "threads")
    resources:
        mem_mb=more(compute("index_images", "mem_mb")),
        runtime=more(compute("index_images", "runtime")),
        gpu=compute("index_images", "gpu"),
    params:
        train=source_flags("--train", TRAIN),
        benchmarks=source_flags("--benchmark", BENCHMARKS),
        id_spaces=id_space_flags([*TRAIN, *BENCHMARKS]),
        cache="results/image_cache.sqlite",
    message:
        "Indexing images; progress in {log}"
    shell:
        "python workflow/scripts/index_images.py {params.train:q} {params.benchmarks:q} {params.id_spaces:q}"
        " --cache {params.cache:q} --threads {threads} --output {output:q} > {log:q} 2>&1"


rule find_leaks:
    """Find training images that are in a benchmark: by id, by content, and by looks."""
    input:
        code=code("find_leaks.py"),
        index="<results>/data/images.jsonl",
    output:
        "<results>/data/leaks.json",
    log:
        "<logs>/find_leaks.log",
    benchmark:
        "<benchmarks>/find_leaks.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(60),
        gpu=0,
    message:
        "Looking for benchmark images in the training sources"
    shell:
        "python workflow/scripts/find_leaks.py --index {input.index:q} --output {output:q} > {log:q} 2>&1"


rule curate_train:
    """Turn sources into the training file: one prompt with its objects a line."""
    input:
        code=code("curate_train.py"),
        files=files_of(TRAIN),
        index="<results>/data/images.jsonl",
        leaks="<results>/data/leaks.json",
        processor="<results>/models/processor",
    output:
        train="<results>/data/train.jsonl",
        summary="<results>/data/curation.json",
        selection="<results>/data/selection.json",
    log:
        "<logs>/curate_train.log",
    benchmark:
        "<benchmarks>/curate_train.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(60),
        gpu=0,
    params:
        sources=source_flags("--source", TRAIN),
        id_spaces=id_space_flags(TRAIN),
        args=lambda wildcards: curation_flags(),
    message:
        "Curating the training file"
    shell:
        "python workflow/scripts/curate_train.py {params.sources:q} {params.id_spaces:q} {params.args:q}"
        " --index {input.index:q} --leaks {input.leaks:q} --processor {input.processor:q}"
        " --output {output.train:q} --summary {output.summary:q} --selection {output.selection:q} > {log:q} 2>&1"


use rule curate_train as curate_experiment with:
    output:
        train="<results>/data/of/{data}/train.jsonl",
        summary="<results>/data/of/{data}/curation.json",
        selection="<results>/data/of/{data}/selection.json",
    log:
        "<logs>/curate_experiment/{data}.log",
    benchmark:
        "<benchmarks>/curate_experiment/{data}.tsv"
    params:
        sources=source_flags("--source", TRAIN),
        id_spaces=id_space_flags(TRAIN),
        args=lambda wildcards: curation_flags(wildcards.data),
    message:
        "Curating the training file of {wildcards.data}"


rule render_datasheet:
    """Write the datasheet: numbers, losses, and samples drawn in the original and in the model's frame."""
    input:
        code=code("render_datasheet.py"),
        templates=[
            "workflow/scripts/vision_r1/report/templates/datasheet.html.j2",
            "workflow/scripts/vision_r1/report/templates/_datasheet.html.j2",
            "workflow/scripts/vision_r1/report/templates/report.css",
        ],
        train="<results>/data/train.jsonl",
        summary="<results>/data/curation.json",
        leaks="<results>/data/leaks.json",
    output:
        page="<results>/data/datasheet.html",
        numbers="<results>/data/datasheet.json",
    log:
        "<logs>/render_datasheet.log",
    benchmark:
        "<benchmarks>/render_datasheet.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(30),
        gpu=0,
    params:
        licences=licence_flags(),
        title=f"--title={config['report']['title']}",
        seed=config["seed"],
    message:
        "Writing the datasheet"
    shell:
        "python workflow/scripts/render_datasheet.py --train_file {input.train:q} --curation {input.summary:q}"
        " --leaks {input.leaks:q} {params.licences:q} {params.title:q} --seed {params.seed}"
        " --output {output.page:q} --numbers {output.numbers:q} > {log:q} 2>&1"
