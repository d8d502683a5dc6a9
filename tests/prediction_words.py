"""The command of predict_suite.py that several tests give, and what it leaves."""

import json

PROTOCOLS = {
    "every": {"prompts": "per-category", "max_new_tokens": 8},
    "present": {"prompts": "per-present-category", "max_new_tokens": 8},
    "at-once": {"prompts": "all-in-one", "max_new_tokens": 5, "max_pixels": 3200},
}

WRITTEN = [".suite.jsonl.sha256", "suite.finished", "suite.jsonl"]


def words(checkpoint, datasets, output, protocols=PROTOCOLS, **options):
    values = {
        **{"family": "qwen2_5_vl", "checkpoint": checkpoint, "min_pixels": 784, "max_pixels": 7056},
        **{"batch_size": 4, "threads": 1, "dtype": "float32", "output_predictions": output, **options},
    }
    return [
        *(word for dataset in datasets for word in ("--dataset", *dataset)),
        *(word for name, entry in protocols.items() for word in ("--protocol", name, json.dumps(entry))),
        *(word for key, value in values.items() for word in (f"--{key}", str(value))),
    ]
