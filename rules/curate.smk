"""Synthetic scenes, checks of all data, the leakage guard, and the training file with its datasheet."""


rule make_scenes:
    """Draw one set of synthetic scenes with a COCO-format annotation file."""
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
        code=code("make_scenes.py"),
        scenes=lambda wildcards: flags.of_scenes(config, wildcards.dataset),
    message:
        "Drawing the scenes of {wildcards.dataset}"
    shell:
        f"python {SCRIPTS}/make_scenes.py"
        " {params.scenes:q}"
        " --output_annotations {output.annotations:q} --output_images {output.images:q} > {log:q} 2>&1"


rule convert_annotations:
    """Convert a data set's annotations in VOC, YOLO or CSV form to COCO format."""
    input:
        files=lambda wildcards: places.given_files(config, wildcards.dataset, ["annotations", "images"]),
    output:
        "<results>/data/converted/{dataset}.json",
    log:
        "<logs>/convert_annotations/{dataset}.log",
    benchmark:
        "<benchmarks>/convert_annotations/{dataset}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(4000),
        runtime=more(60),
        gpu=0,
    params:
        code=code("convert_annotations.py"),
        source=lambda wildcards: flags.of_conversion(config, wildcards.dataset),
        labels=lambda wildcards: state(places.label_files(config, wildcards.dataset)),
        files=lambda wildcards: state(places.annotation_files(config, wildcards.dataset)),
    message:
        "Converting the annotations of {wildcards.dataset}"
    shell:
        f"python {SCRIPTS}/convert_annotations.py" " {params.source:q} --output_json {output:q} > {log:q} 2>&1"


rule check_dataset:
    """Check one data set: readable, whole, and as large as the register or the lock file says."""
    input:
        files=lambda wildcards: places.source_files(config, RUN.folder, wildcards.dataset),
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
        code=code("check_dataset.py"),
        source=lambda wildcards: flags.of_sources(RUN, "--source", [wildcards.dataset]),
        id_space=lambda wildcards: flags.of_id_spaces(config, [wildcards.dataset]),
        expect=lambda wildcards: flags.of_expectations(config, wildcards.dataset),
        files=lambda wildcards: state(places.annotation_files(config, wildcards.dataset)),
    message:
        "Checking {wildcards.dataset}"
    shell:
        f"python {SCRIPTS}/check_dataset.py"
        " {params.source:q} {params.id_space:q} {params.expect:q}"
        " --output_json {output:q} > {log:q} 2>&1"


rule index_images:
    """Read every image once: size, checksum and perceptual hash, for training sources and benchmarks."""
    input:
        files=ready([*RUN.trained_on, *RUN.kept_out]),
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
        code=code("index_images.py"),
        train=flags.of_sources(RUN, "--train", RUN.trained_on),
        benchmarks=flags.of_sources(RUN, "--benchmark", RUN.kept_out),
        id_spaces=flags.of_id_spaces(config, [*RUN.trained_on, *RUN.kept_out]),
        cache="results/image_cache.sqlite",
    message:
        "Indexing images; progress in {log}"
    shell:
        f"python {SCRIPTS}/index_images.py"
        " {params.train:q} {params.benchmarks:q} {params.id_spaces:q}"
        " --cache {params.cache:q} --threads {threads} --output_index {output:q} > {log:q} 2>&1"


rule find_leaks:
    """Find training images that are in a benchmark: by id, by content, and near-duplicates."""
    input:
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
    params:
        code=code("find_leaks.py"),
    message:
        "Looking for benchmark images in the training sources"
    shell:
        f"python {SCRIPTS}/find_leaks.py" " --index {input.index:q} --output_json {output:q} > {log:q} 2>&1"


rule curate_train:
    """Turn sources into the training file: one prompt with its objects per line."""
    input:
        files=ready(RUN.trained_on),
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
        code=code("curate_train.py"),
        sources=flags.of_sources(RUN, "--source", RUN.trained_on),
        id_spaces=flags.of_id_spaces(config, RUN.trained_on),
        args=lambda wildcards: flags.of_curation(config),
    message:
        "Curating the training file"
    shell:
        f"python {SCRIPTS}/curate_train.py"
        " {params.sources:q} {params.id_spaces:q} {params.args:q}"
        " --index {input.index:q} --leaks {input.leaks:q} --processor {input.processor:q}"
        " --output_train {output.train:q} --output_summary {output.summary:q} --output_selection {output.selection:q}"
        " > {log:q} 2>&1"


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
        code=code("curate_train.py"),
        sources=flags.of_sources(RUN, "--source", RUN.trained_on),
        id_spaces=flags.of_id_spaces(config, RUN.trained_on),
        args=lambda wildcards: flags.of_curation(config, wildcards.data),
    message:
        "Curating the training file of {wildcards.data}"


rule render_datasheet:
    """Write the datasheet: numbers, what was dropped, and samples drawn in the original and in the model's frame."""
    input:
        templates=[f"{TEMPLATES}/{name}" for name in ("datasheet.html.j2", "_datasheet.html.j2", "report.css")],
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
        code=code("render_datasheet.py"),
        licences=places.licences(config, RUN.trained_on),
        title=lambda wildcards: config["report"]["title"],
        seed=config["seed"],
        run=subpath(output.page, ancestor=2),
    message:
        "Writing the datasheet"
    shell:
        f"python {SCRIPTS}/render_datasheet.py"
        " --run {params.run:q}"
        " --output_page {output.page:q} --output_numbers {output.numbers:q} > {log:q} 2>&1"
