"""Vision-R1: vision-guided reinforcement learning for localisation with vision-language models.

The package knows nothing of Snakemake. The programs in the folder above are thin wrappers around it.
"""
