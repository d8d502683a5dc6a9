"""The audit's figures: mean reward against AP, a line per family, a panel per reward, loopholes by name; and, for many
rewards, a table of what each keeps of its reward.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vision_r1.report.panels import STYLE_SHEET, write
from vision_r1.report.style import INK, PALE
from vision_r1.text import shorten

PANELS_A_LINE = 2
LONGEST = 40  # letters of a title
SAME_HEIGHT = 0.12  # of the reward: closer loopholes share a label
Records = Sequence[Mapping[str, Any]]


def draw(records: Records, loopholes: Records, rewards: Records, paths: Sequence[str | Path]) -> None:
    """Write the figure of some rewards; a path's ending, .svg or .png, chooses the format.

    records, loopholes: of `vision_r1.audit`, of these rewards and others; rewards: {name, checkpoints, published}.
    """
    lines = max(-(-len(rewards) // PANELS_A_LINE), 1)
    with plt.style.context(STYLE_SHEET):
        figure, axes = plt.subplots(
            lines, PANELS_A_LINE, figsize=(9.5, 3.2 * lines), sharex=True, sharey=True, squeeze=False
        )
        for panel, entry in zip(axes.flat, rewards, strict=False):
            own = [record for record in records if record["criterion"] == entry["name"]]
            holes = [hole for hole in loopholes if hole["criterion"] == entry["name"]]
            _draw_lines(panel, own, {hole["family"]: hole["strength"] for hole in holes})
            for x, y, names in labels(own, holes):
                place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "right" if x > 0.5 else "left"}
                panel.annotate(names, (x, y), color=INK, fontsize="small", **place)
            panel.set_title(_title(entry))
        for panel in axes.flat[len(rewards) :]:
            panel.set_visible(False)
        for below in axes.flat[max(len(rewards) - PANELS_A_LINE, 0) : len(rewards)]:  # the last panel of each column
            below.tick_params(labelbottom=True)
            below.set_xlabel("COCO AP of the same answers")
        if not rewards:
            figure.text(0.5, 0.5, "All published criteria are used here.", ha="center")
        for panel in axes[:, 0]:
            panel.set_ylabel("mean reward (0 to 3)")
            panel.set_ylim(-0.1, max(3.4, 1.05 * max((record["reward"] for record in records), default=0)))
        _save(figure, paths)


def draw_kept(kept: Mapping[str, Mapping[str, float]], loopholes: Records, paths: Sequence[str | Path]) -> None:
    """Write a table in colours: what each column, a reward or metric, keeps of its value, by family.

    kept: column -> family -> share, 0 or more; a loophole's cell has a frame.
    """
    families = list(next(iter(kept.values())))
    shares = np.array([[own[family] for own in kept.values()] for family in families])
    blind = {(hole["family"], hole["criterion"]) for hole in loopholes}
    with plt.style.context(STYLE_SHEET):
        figure, axes = plt.subplots(figsize=(1.5 + 0.62 * len(kept), 1.6 + 0.33 * len(families)))
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
        for row, family in enumerate(families):
            for column, name in enumerate(kept):
                share = shares[row, column]
                colour = "white" if share > 0.85 else "black"
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize="small")
                if (family, name) in blind:
                    frame = {"fill": False, "edgecolor": "C1", "lw": 2}
                    axes.add_patch(plt.Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, **frame))
        axes.set_yticks(range(len(families)), [family.replace("_", " ") for family in families])
        axes.set_xticks(range(len(kept)), list(kept), rotation=40, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        _save(figure, paths)


def _save(figure: Figure, paths: Sequence[str | Path]) -> None:
    for path in paths:
        write(figure, path)
    plt.close(figure)


def _draw_lines(panel: plt.Axes, records: Records, blind: Mapping[str, float]) -> None:
    """Draw a grey line per family, and in colour how far it runs level: to the strength of its loophole."""
    for family in dict.fromkeys(record["family"] for record in records):
        line = [record for record in records if record["family"] == family]
        level = [record for record in line if record["strength"] <= blind.get(family, -1)]
        for part, looks in ((line, {"color": PALE, "lw": 1.0}), (level, {"color": "C1", "lw": 1.8, "zorder": 3})):
            panel.plot([each["ap"] for each in part], [each["reward"] for each in part], marker="o", ms=3, **looks)


def labels(records: Records, loopholes: Records) -> list[tuple[float, float, str]]:
    """Return AP, reward and names of the loopholes of one reward, those of about one height at the lowest AP of them,
    worst first.

    records: those of this reward; a loophole's point is its family's at its strength.
    """
    points = {(record["family"], record["strength"]): (record["ap"], record["reward"]) for record in records}
    groups: list[list[tuple[float, float, str]]] = []
    for hole in sorted(loopholes, key=lambda hole: points[hole["family"], hole["strength"]][1]):
        x, y = points[hole["family"], hole["strength"]]
        if not groups or y - groups[-1][0][1] > SAME_HEIGHT:
            groups.append([])
        groups[-1].append((x, y, hole["family"].replace("_", " ")))
    return [
        (min(x for x, *_ in group), max(y for _, y, _ in group), ", ".join(name for _, _, name in sorted(group)))
        for group in groups
    ]


def _title(entry: Mapping[str, Any]) -> str:
    """Return two short lines: experiment or published criterion with its stage, and what is trained with it."""
    others = len(entry["checkpoints"]) - 1
    more = f" and {others} more" if others > 0 else ""
    origin = f"configured{', as published' if entry['published'] else ''}"
    name = shorten(entry["name"].replace("/", ", "), LONGEST)
    return f"{name}{more}\n{origin if entry['checkpoints'] else 'published, for reference'}"
