"""One-to-one matching of predicted boxes to ground truth, by the Hungarian method.

All rules return (rows, columns): the matched predictions and their objects, each (k,) integers. scipy is imported when
it is needed: it takes as long as checking a configuration, which knows the rewards by name.
"""

import numpy as np

from vision_r1.boxes import city_block


def match_box_prioritised(
    predictions: np.ndarray,
    truth: np.ndarray,
    closeness: np.ndarray,
    same_label: np.ndarray,
    label_aware: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Match with least cost = L1 - [same label] - GIoU (paper, section 3.2; released code).

    Boxes are (n, 4) and (m, 4) in pixels, not normalised, so the L1 term decides and a wrong label hardly
    changes the match. closeness, their GIoU, and same_label are (n, m). All min(n, m) pairs are matched,
    however far apart; with `label_aware` (ours) only those of equal labels are.
    """
    cost = city_block(predictions, truth) - same_label.astype(closeness.dtype) - closeness
    if not label_aware:
        return least_cost(cost)
    far = (np.abs(cost).max() + 1) * (len(truth) + 1)  # larger than any valid assignment's cost
    rows, columns = least_cost(np.where(same_label, cost, far))
    kept = same_label[rows, columns]
    return rows[kept], columns[kept]


def match_most_value(value: np.ndarray, preferred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match so that the summed `value` (n, m), each >= 0, is greatest; pairs of value 0 stay unmatched (ours).

    Among equal sums the one with more `preferred` pairs (n, m, true or false) wins, so that the order of
    the predictions never matters.
    """
    rows, columns = least_cost(-(value + 1e-9 * (preferred & (value > 0))))
    kept = value[rows, columns] > 0
    return rows[kept], columns[kept]


def least_cost(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match all min(n, m) pairs so that their summed `cost` (n, m) is least."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(cost)
