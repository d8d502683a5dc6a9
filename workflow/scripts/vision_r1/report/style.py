"""Names and colours that the figures and the page share."""

FIGURES = (
    "ap_by_checkpoint",
    "boxes_by_checkpoint",
    "ap_by_dataset",
    "reward_by_step",
    "signal_by_step",
    "verdicts_by_step",
    "loss_by_step",
    "precision_recall",
)
# Tables that tabulate_results.py writes beside the scores, each as CSV, Markdown and LaTeX.
SHEETS = ("differences", "intervals", "errors", "error_counts", "slices", "score_policies")
INK, MUTED, PALE = "#1f2328", "#5b636d", "#aab0b7"
# Colours of style.mplstyle -> what the page shows instead on a dark screen.
DARK = {
    INK: "#e8eaed",
    MUTED: "#a3abb5",
    PALE: "#565e68",
    "#e3e6ea": "#2c323a",
    "#0072b2": "#56b4e9",
    "#d55e00": "#f0894a",
    "#009e73": "#2fc99b",
    "#cc79a7": "#e3a0c6",
    "#e69f00": "#f2b84b",
}


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours #rrggbb, 1 to 21 (WCAG 2.1; AA asks for 4.5 in text)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
