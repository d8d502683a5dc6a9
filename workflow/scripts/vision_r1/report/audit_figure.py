"""The audit's figure: mean reward against AP, one line per family, a panel per criterion and stage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vision_r1.files import written_whole

STYLE_SHEET = Path(__file__).with_name("style.mplstyle")
# Colour for what is made worse, marker for how.
GROUPS = {
    "C0": ("jitter", "shrink", "whole_image", "one_box"),
    "C1": ("missed", "spam", "duplicates", "empty"),
    "C2": ("wrong_labels", "unknown_labels"),
    "C3": ("truncation", "prose"),
}
LOOKS = {family: (colour, "os^D"[i]) for colour, group in GROUPS.items() for i, family in enumerate(group)}


def draw(records: Sequence[Mapping[str, Any]], paths: Sequence[str | Path]) -> None:
    """Write the figure of the records of `vision_r1.audit.audit`; a path's ending, .svg or .png, chooses the format."""
    criteria = list(dict.fromkeys(record["criterion"] for record in records))
    stages = list(dict.fromkeys(record["stage"] for record in records))
    with plt.style.context(STYLE_SHEET):
        figure, axes = plt.subplots(
            len(criteria), len(stages), figsize=(9.5, 3 * len(criteria)), sharex=True, sharey=True, squeeze=False
        )
        for panels, criterion in zip(axes, criteria, strict=True):
            for panel, stage in zip(panels, stages, strict=True):
                chosen = [r for r in records if (r["criterion"], r["stage"]) == (criterion, stage)]
                for family, (colour, marker) in LOOKS.items():
                    line = [(r["ap"], r["reward"]) for r in chosen if r["family"] == family]
                    panel.plot(*zip(*line, strict=True), color=colour, marker=marker, ms=3.5, lw=1.2, label=family)
                panel.set_title(f"{criterion}, {stage}")
            panels[0].set_ylabel("mean reward (0 to 3)")
        for panel in axes[-1]:
            panel.set_xlabel("COCO AP of the same answers")
        names = [family.replace("_", " ") for family in LOOKS]
        figure.legend(panel.get_lines(), names, loc="outside right center", title="made worse by")
        for path in paths:
            looks = {"metadata": {"Date": None}} if Path(path).suffix == ".svg" else {"dpi": 200, "facecolor": "white"}
            with written_whole(path) as partial:
                figure.savefig(partial, format=Path(path).suffix.lstrip("."), **looks)
        plt.close(figure)
