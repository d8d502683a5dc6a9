"""The base model: trained here from scratch, or taken from the hub or a folder at a pinned revision."""

if config["model"]["source"] == "made":

    localrules:
        make_processor,

    rule make_processor:
        """Make the processor alone, which curation needs to count tokens."""
        output:
            directory("<results>/models/processor"),
        log:
            "<logs>/make_processor.log",
        benchmark:
            "<benchmarks>/make_processor.tsv"
        conda:
            "../environment.yml"
        threads: 1
        resources:
            mem_mb=more(2000),
            runtime=more(30),
            gpu=0,
        params:
            code=code("make_processor.py"),
            # A function, or Snakemake takes {categories} for a wildcard.
            args=lambda wildcards: flags.of_values(
                {
                    "world": config["base"]["world"],
                    "names": config["base"]["names"],
                    "templates": json.dumps(config["templates"]),
                }
            ),
        message:
            "Making the processor of the base model"
        shell:
            f"python {SCRIPTS}/make_processor.py" " {params.args:q} --output_folder {output:q} > {log:q} 2>&1"

    rule make_base_model:
        """Train the miniature's base model on coarse labels."""
        output:
            model=directory("<results>/models/base/model"),
            history="<results>/models/base/history.jsonl",
            metrics="<results>/models/base/metrics.json",
        log:
            "<logs>/make_base_model.log",
        benchmark:
            "<benchmarks>/make_base_model.tsv"
        conda:
            "../environment.yml"
        threads: compute("make_base_model", "threads")
        resources:
            mem_mb=compute("make_base_model", "mem_mb"),
            runtime=compute("make_base_model", "runtime"),
            gpu=compute("make_base_model", "gpu"),
        params:
            code=code("make_base_model.py"),
            args=lambda wildcards: flags.of_values(
                {
                    **config["base"],
                    "templates": json.dumps(config["templates"]),
                    "seed": config["seed"],
                    "threads": compute("make_base_model", "threads"),
                }
            ),
            folder=subpath(output.metrics, parent=True),
        message:
            "Training the base model; progress in {log}"
        shell:
            f"exec python {SCRIPTS}/launch_job.py"
            " --lock {log:q}.lock --gpus {resources.gpu:q} --"
            f" python {SCRIPTS}/make_base_model.py"
            " {params.args:q} --state {params.folder:q}/state"
            " --output_model {output.model:q}"
            " --output_history {output.history:q} --output_metrics {output.metrics:q} > {log:q} 2>&1"

else:
    MODEL_FOLDER = [config["model"]["id"]] if config["model"]["source"] == "folder" else []
    MODEL_STATE = state(file for folder in MODEL_FOLDER for file in Path(folder).iterdir())

    localrules:
        fetch_processor,
        fetch_base_model,

    rule fetch_processor:
        """Fetch the base model's processor alone, which curation needs to count tokens."""
        input:
            folder=MODEL_FOLDER,
        output:
            directory("<results>/models/processor"),
        log:
            "<logs>/fetch_processor.log",
        benchmark:
            "<benchmarks>/fetch_processor.tsv"
        retries: 3
        conda:
            "../environment.yml"
        threads: 1
        resources:
            mem_mb=more(2000),
            runtime=more(30),
            gpu=0,
        params:
            code=code("fetch_model.py"),
            args=flags.of_values({key: config["model"][key] for key in ("source", "id", "revision")}),
            files=MODEL_STATE,
        message:
            "Fetching the processor of the base model"
        shell:
            f"python {SCRIPTS}/fetch_model.py"
            " --processor_only {params.args:q} --output_folder {output:q} > {log:q} 2>&1"

    rule fetch_base_model:
        """Download the base model at its pinned revision, or take it from a folder."""
        input:
            folder=MODEL_FOLDER,
        output:
            model=directory("<results>/models/base/model"),
            metrics="<results>/models/base/metrics.json",
        log:
            "<logs>/fetch_base_model.log",
        benchmark:
            "<benchmarks>/fetch_base_model.tsv"
        retries: 3
        conda:
            "../environment.yml"
        threads: 1
        resources:
            mem_mb=compute("make_base_model", "mem_mb"),
            runtime=compute("make_base_model", "runtime"),
            gpu=0,
        params:
            code=code("fetch_model.py"),
            args=flags.of_values({key: config["model"][key] for key in ("source", "id", "revision")}),
            files=MODEL_STATE,
        message:
            "Fetching the base model; progress in {log}"
        shell:
            f"python {SCRIPTS}/fetch_model.py"
            " {params.args:q} --output_folder {output.model:q}"
            " --output_metrics {output.metrics:q} > {log:q} 2>&1"
