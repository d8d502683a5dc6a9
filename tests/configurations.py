"""Every configuration that is shipped: the files that are laid over the default ones, in this order."""

from vision_r1 import configuration

DEFAULT = ["config/config.yaml", "config/datasets.yaml", "config/experiments.yaml"]
CONFIGURATIONS = {
    "miniature": [],
    "coco_tiny": ["config/coco_tiny.yaml"],
    "smoke": ["tests/smoke.yaml"],
    "midi": ["config/midi.yaml"],
    "midi_exact": ["config/midi.yaml", "config/midi_exact.yaml"],
    "paper": ["config/paper.yaml"],
    **{
        name: ["config/paper.yaml", f"config/{name}.yaml"]
        for name in (
            *("two_nodes", "qwen2_5_vl_3b", "qwen3_vl_8b", "lora_24gb", "lora_80gb", "vllm"),
            *("released_script", "released_data"),
        )
    },
}
ON_GPUS = [name for name, files in CONFIGURATIONS.items() if "config/paper.yaml" in files]


def load(root, name):
    """Return one configuration, merged as Snakemake merges --configfile (dicts merge, lists replace)."""
    return configuration.load([root / file for file in [*DEFAULT, *CONFIGURATIONS[name]]])
