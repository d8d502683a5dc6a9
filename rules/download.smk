"""Public archives: downloaded once for all runs, verified, unpacked. Editing the code repeats none of it."""


localrules:
    download_archive,
    unpack_archive,
    fetch_released_data,


rule download_archive:
    """Download one archive or JSON file: resumed after a break, verified, renamed into place."""
    output:
        "results/downloads/{download}",
    log:
        "results/downloads/logs/download_archive/{download}.log",
    # Shared between runs and users with --cache (docs/cluster.md); Snakemake allows such a rule no benchmark file.
    cache: "omit-software" if os.getenv("SNAKEMAKE_OUTPUT_CACHE") else False
    retries: 3
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(1440),
        gpu=0,
    params:
        source=lambda wildcards: flags.of_archive(config, wildcards.download),
    message:
        "Downloading {wildcards.download}; progress in {log}"
    shell:
        f"python {SCRIPTS}/download_archive.py" " {params.source:q} --output_file {output:q} > {log:q} 2>&1"


rule unpack_archive:
    """Unpack one archive beside it; the manifest is written last and so marks the folder as complete."""
    input:
        archive=lambda wildcards: f"{places.DOWNLOADS}/{ARCHIVE_FILES[wildcards.archive]}",
    output:
        "results/downloads/{archive}.json",
    log:
        "results/downloads/logs/unpack_archive/{archive}.log",
    benchmark:
        "results/downloads/benchmarks/unpack_archive/{archive}.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(1000),
        runtime=more(120),
        gpu=0,
    params:
        folder=subpath(output[0], strip_suffix=".json"),
        content=lambda wildcards: flags.of_content(config, wildcards.archive),
    message:
        "Unpacking {wildcards.archive}"
    shell:
        f"python {SCRIPTS}/unpack_archive.py"
        " --archive {input.archive:q} --output_folder {params.folder:q}"
        " --output_manifest {output:q} {params.content:q} > {log:q} 2>&1"


rule fetch_released_data:
    """Fetch the authors' released training set and unpack it: image files, and one question per line."""
    output:
        samples="results/downloads/{released}/samples.jsonl",
        images=directory("results/downloads/{released}/images"),
    log:
        "results/downloads/logs/fetch_released_data/{released}.log",
    benchmark:
        "results/downloads/benchmarks/fetch_released_data/{released}.tsv"
    retries: 3
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(8000),
        runtime=more(720),
        gpu=0,
    params:
        source=lambda wildcards: flags.of_values(config["datasets"][wildcards.released]["released"]),
        files=lambda wildcards: state(places.released_files(config, wildcards.released)),
        lock=flags.LOCK,
    message:
        "Fetching {wildcards.released}; progress in {log}"
    shell:
        f"python {SCRIPTS}/fetch_released_data.py"
        " {params.source:q} --lock {params.lock:q}"
        " --output_images {output.images:q} --output_samples {output.samples:q} > {log:q} 2>&1"
