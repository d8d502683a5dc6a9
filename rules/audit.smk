"""What the rewards pay for: an audit on the curated data, before any GPU hour is spent."""


rule audit_rewards:
    """Perturb ground truth in families of growing strength; compare mean reward with AP."""
    input:
        style=STYLE,
        train="<results>/data/train.jsonl",
    output:
        table="<results>/audit/rewards.csv",
        figures=[
            report(f"<results>/audit/rewards.{kind}", caption="../docs/captions/audit.rst", category="Figures")
            for kind in ["svg", "png"]
        ],
        references=[
            report(f"<results>/audit/references.{kind}", caption="../docs/captions/references.rst", category="Figures")
            for kind in ["svg", "png"]
        ],
        loopholes="<results>/audit/loopholes.md",
        summary="<results>/audit/summary.json",
    log:
        "<logs>/audit_rewards.log",
    benchmark:
        "<benchmarks>/audit_rewards.tsv"
    conda:
        "../environment.yml"
    threads: 1
    resources:
        mem_mb=more(2000),
        runtime=more(30),
        gpu=0,
    params:
        code=code("audit_rewards.py"),
        seed=config["seed"],
        rewards=flags.of_rewards(config),
    message:
        "Auditing the rewards"
    shell:
        f"python {SCRIPTS}/audit_rewards.py"
        " --train_file {input.train:q} --seed {params.seed}"
        " {params.rewards:q}"
        " --output_table {output.table:q} --output_figure {output.figures:q} --output_references {output.references:q}"
        " --output_loopholes {output.loopholes:q} --output_summary {output.summary:q} > {log:q} 2>&1"
