"""The pipeline as a picture: its rules, their order, and how long the jobs of each took."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from vision_r1.files import UserError
from vision_r1.report.panels import STYLE_SHEET, save
from vision_r1.report.provenance import RuleCost
from vision_r1.report.style import INK, MUTED
from vision_r1.report.text import duration
from vision_r1.text import shorten

WIDTH, HEIGHT, GAP = 1.9, 0.42, 0.3  # of a node, and between layers, inches
SLOT = WIDTH + 0.15  # from one node to the next in a layer
BEND = 0.35  # room for an edge that passes through a layer
SWEEPS = 8

Edges = Mapping[str, set[str]]  # rule -> the rules that it needs


def read_rulegraph(text: str) -> dict[str, set[str]]:
    """Read the output of `snakemake --rulegraph`: rule -> rules that it needs; rules that only collect targets are left
    out.

    Raises UserError when the text is not such a graph.
    """
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', text, re.M))
    if not names:
        raise UserError("standard input: no rules in it; give the output of `snakemake --rulegraph`")
    needs: dict[str, set[str]] = {name: set() for name in names.values()}
    for source, target in re.findall(r"^\s*(\d+) -> (\d+)", text, re.M):
        needs[names[target]].add(names[source])
    needs.pop("all", None)
    return needs


def without_circles(needs: Edges) -> dict[str, set[str]]:
    """Drop the edges that close a circle, which arises since a rule's jobs may need other jobs of the same rule.

    Stage 2 needs stage 1, and GRPO waits for scores of the base model. The walk begins at the first name in the
    alphabet, check_anchors, so that the circle is cut before GRPO and not before predictions.
    """
    kept: dict[str, set[str]] = {}

    def walk(name: str, path: Sequence[str]) -> None:
        if name not in kept:
            kept[name] = needs[name] - {*path, name}
            for each in sorted(kept[name]):
                walk(each, [*path, name])

    for name in sorted(needs):
        walk(name, [])
    return kept


def reduced(needs: Edges) -> dict[str, set[str]]:
    """Drop edges that others imply: a -> c where a -> b -> c (transitive reduction)."""
    before: dict[str, set[str]] = {}

    def ancestors(name: str) -> set[str]:
        if name not in before:
            before[name] = set().union(needs[name], *map(ancestors, needs[name]))
        return before[name]

    return {
        name: {each for each in direct if not any(each in ancestors(other) for other in direct - {each})}
        for name, direct in needs.items()
    }


def layers(needs: Edges) -> dict[str, int]:
    """Return each rule's layer: one below the lowest rule that it needs."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max(map(of, needs[name]), default=-1)
        return depth[name]

    for name in sorted(needs):
        of(name)
    return depth


def draw_rulegraph(needs: Edges, stages: Sequence[RuleCost], stem: str | Path) -> None:
    """Write <stem>.svg and <stem>.png: rules from top to bottom in order of work, with bars for shares of all time."""
    with plt.style.context(STYLE_SHEET):
        save(_draw(reduced(without_circles(needs)), {stage.rule: stage for stage in stages}), stem)


def _draw(needs: Edges, stages: Mapping[str, RuleCost]) -> Figure:
    depth = layers(needs)
    chains = {(source, name): _chain(source, name, depth) for name in sorted(needs) for source in sorted(needs[name])}
    places = _places(depth, list(chains.values()))
    left, right = min(x for x, _ in places.values()) - WIDTH / 2, max(x for x, _ in places.values()) + WIDTH / 2
    height = (max(depth.values()) + 1) * (HEIGHT + GAP)
    figure, axes = plt.subplots(figsize=(right - left + 0.1, height))
    axes.set(xlim=(left - 0.05, right + 0.05), ylim=(height - GAP / 2, -GAP / 2))
    axes.axis("off")
    for chain in chains.values():
        _edge(axes, [places[point] for point in chain])
    whole = sum(stage.seconds for stage in stages.values()) or 1.0
    for name in needs:
        _node(axes, name, places[name], stages.get(name), whole)
    return figure


def _chain(source: str, target: str, depth: Mapping[str, int]) -> list[str | tuple[str, int]]:
    """Return the points of an edge: its ends, and one in each layer between (edges from one source share it)."""
    between = [(source, layer) for layer in range(depth[source] + 1, depth[target])]
    return [source, *between, target]


def _places(depth: Mapping[str, int], chains: Sequence[Sequence[str | tuple[str, int]]]) -> dict:
    """Return the centre of every point, inches: each layer in the order of its neighbours' means (Sugiyama 1981)."""
    rows: list[list] = [[] for _ in range(max(depth.values()) + 1)]
    neighbours: dict = {name: set() for name in depth}
    for name in sorted(depth):
        rows[depth[name]].append(name)
    for chain in chains:
        for point in chain[1:-1]:
            if point not in neighbours:
                rows[point[1]].append(point)
        for one, other in zip(chain, chain[1:], strict=False):
            neighbours.setdefault(one, set()).add(other)
            neighbours.setdefault(other, set()).add(one)
    across = {point: float(place) for row in rows for place, point in enumerate(row)}
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wish = {
                point: sum(across[each] for each in neighbours[point]) / (len(neighbours[point]) or 1) for point in row
            }
            row.sort(key=lambda point: (wish[point], str(point)))  # noqa: B023
            widths = [SLOT if isinstance(point, str) else BEND for point in row]
            for number, point in enumerate(row):
                across[point] = -sum(widths) / 2 + sum(widths[:number]) + widths[number] / 2
    down = {point: (HEIGHT + GAP) * number + HEIGHT / 2 for number, row in enumerate(rows) for point in row}
    return {point: (across[point], down[point]) for point in across}


def _edge(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    corners = [points[0]]
    for (x, y), (_, y_next) in zip(points[1:], [*points[2:], points[-1]], strict=True):
        corners.append((x, y - HEIGHT / 2))
        if y_next != y:  # not the end: straight through the layer
            corners.append((x, y + HEIGHT / 2))
    corners[0] = (points[0][0], points[0][1] + HEIGHT / 2)
    axes.plot(*zip(*corners, strict=True), color="#aab0b7", linewidth=1, marker="", zorder=1)


def _node(axes: Axes, name: str, place: tuple[float, float], stage: RuleCost | None, whole: float) -> None:
    x, y = place[0] - WIDTH / 2, place[1] - HEIGHT / 2
    box = FancyBboxPatch((x, y), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.05", facecolor="none", edgecolor="#aab0b7")
    axes.add_patch(box)
    axes.text(place[0], y + 0.14, shorten(name, 30), ha="center", va="center", fontsize=8, color=INK)
    if stage is None:
        about = "not run, or not measured"
    else:
        about = f"{stage.jobs} job{'s' if stage.jobs != 1 else ''} · {duration(stage.seconds)}"
        share = (WIDTH - 0.12) * stage.seconds / whole
        axes.add_patch(Rectangle((x + 0.06, y + HEIGHT - 0.06), share, 0.035, color="#0072b2", linewidth=0))
    axes.text(place[0], y + 0.275, about, ha="center", va="center", fontsize=7, color=MUTED)
