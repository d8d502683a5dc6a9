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
SHEETS = ("differences", "errors", "error_counts", "slices", "score_policies")
INK, MUTED = "#1f2328", "#5b636d"
# Colours of style.mplstyle -> what the page shows instead on a dark screen.
DARK = {
    INK: "#e8eaed",
    MUTED: "#a3abb5",
    "#aab0b7": "#565e68",
    "#e3e6ea": "#2c323a",
    "#0072b2": "#56b4e9",
    "#d55e00": "#f0894a",
    "#009e73": "#2fc99b",
    "#cc79a7": "#e3a0c6",
    "#e69f00": "#f2b84b",
}
