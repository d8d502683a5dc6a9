"""Every shipped configuration: the files that override the default ones, in this order."""

import contextlib
from functools import cache

from vision_r1 import configuration
from vision_r1.preflight.survey import survey
from vision_r1.run_folder import Run

CONFIGURATIONS = {
    "miniature": [],
    "apples": ["config/apples.yaml"],
    "smoke": ["tests/smoke.yaml"],
    "midi": ["config/midi.yaml"],
    "midi_exact": ["config/midi.yaml", "config/midi_exact.yaml"],
    "paper": ["config/paper.yaml"],
    **{
        name: ["config/paper.yaml", f"config/{name}.yaml"]
        for name in (
            *("two_nodes", "qwen2_5_vl_3b", "upstream_2026", "lora_24gb", "lora_80gb", "vllm"),
            *("released_2025", "released_data"),
        )
    },
}
ON_GPUS = [name for name, files in CONFIGURATIONS.items() if "config/paper.yaml" in files]


def load(root, name):
    """Return one configuration, merged as Snakemake merges --configfile (dicts are merged, lists replaced)."""
    return configuration.load([root / file for file in [*configuration.DEFAULT, *CONFIGURATIONS[name]]])


@cache
def surveyed(root, name):
    """Return the preflight's survey of a configuration of which nothing has run yet."""
    with contextlib.chdir(root):  # paths of accelerate's files are relative to the project
        return survey(Run(root / "nothing", load(root, name)))
