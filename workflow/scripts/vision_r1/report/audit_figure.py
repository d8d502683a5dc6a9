"""The audit's figure: mean reward against AP, one line per family, a panel per reward."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vision_r1.files import written_whole
from vision_r1.report.text import shorten

STYLE_SHEET = Path(__file__).with_name("style.mplstyle")
# Colour for what is made worse, marker for how.
GROUPS = {
    "C0": ("jitter", "shrink", "whole_image", "one_box"),
    "C1": ("missed", "spam", "duplicates", "empty"),
    "C2": ("wrong_labels", "unknown_labels"),
    "C3": ("truncation", "prose"),
}
LOOKS = {family: (colour, "os^D"[i]) for colour, group in GROUPS.items() for i, family in enumerate(group)}
PANELS_A_LINE = 3
LONGEST = 28  # letters of a title, in bold, above a panel


def draw(
    records: Sequence[Mapping[str, Any]], rewards: Sequence[Mapping[str, Any]], paths: Sequence[str | Path]
) -> None:
    """Write the figure of the records of `vision_r1.audit.audit`; a path's ending, .svg or .png, chooses the format.

    rewards: {name, checkpoints, published} of each panel. Titles of rewards that a training has are bold.
    """
    lines = -(-len(rewards) // PANELS_A_LINE)
    with plt.style.context(STYLE_SHEET):
        figure, axes = plt.subplots(
            lines, PANELS_A_LINE, figsize=(9.5, 3.2 * lines), sharex=True, sharey=True, squeeze=False
        )
        for panel, entry in zip(axes.flat, rewards, strict=False):
            chosen = [record for record in records if record["criterion"] == entry["name"]]
            for family, (colour, marker) in LOOKS.items():
                line = [(r["ap"], r["reward"]) for r in chosen if r["family"] == family]
                panel.plot(*zip(*line, strict=True), color=colour, marker=marker, ms=3.5, lw=1.2, label=family)
            panel.set_title(_title(entry), fontweight="bold" if entry["checkpoints"] else "normal")
        for panel in axes.flat[len(rewards) :]:
            panel.set_visible(False)
        for below in axes.flat[max(len(rewards) - PANELS_A_LINE, 0) : len(rewards)]:  # the last panel of each column
            below.tick_params(labelbottom=True)
            below.set_xlabel("COCO AP of the same answers")
        for panel in axes[:, 0]:
            panel.set_ylabel("mean reward (0 to 3)")
        names = [family.replace("_", " ") for family in LOOKS]
        figure.legend(axes[0, 0].get_lines(), names, loc="outside right center", title="made worse by")
        for path in paths:
            looks = {"metadata": {"Date": None}} if Path(path).suffix == ".svg" else {"dpi": 200, "facecolor": "white"}
            with written_whole(path) as partial:
                figure.savefig(partial, format=Path(path).suffix.lstrip("."), **looks)
        plt.close(figure)


def _title(entry: Mapping[str, Any]) -> str:
    """Return three short lines: experiment or published criterion, stage, and where the reward is from."""
    name, _, stage = entry["name"].replace(", ", "/").partition("/")
    others = len(entry["checkpoints"]) - 1
    more = f" and {others} more" if others > 0 else ""
    origin = f"configured{', as published' if entry['published'] else ''}"
    return f"{shorten(name, LONGEST)}\n{stage}{more}\n{origin if entry['checkpoints'] else 'published, for reference'}"
