"""Boxes that can't be right: in other units, corners in place of width and height, without area.

Real sets have some boxes that reach over the edge, and some without area; curation cuts the former and drops the
latter. Where more than MAX_SHARE of a data set's boxes are odd in one way, it is the file that is wrong.
"""

from collections.abc import Mapping

import numpy as np

MAX_SHARE = 0.5
# Kind -> what is said of one box and of several.
KINDS = {
    "no_area": ("has no area, so it can't be found", "have no area, so they can't be found"),
    "outside": ("ends outside of its image", "end outside of their image"),
    "shares": ("lies in the first two pixels", "lie in the first two pixels"),
}
HINTS = {
    "corners": "are they x1 y1 x2 y2? They have to be x y width height",
    "shares": "are they shares of the image? They have to be pixels",
}


def oddities(corners: np.ndarray, sizes: np.ndarray) -> dict[str, int]:
    """Return how many boxes are odd, by kind; kinds without any are left out.

    corners (n, 4): x1 y1 x2 y2 in pixels of the original image; sizes (n, 2): width and height of each box's image, 0
    where they aren't known. outside: by more than a pixel and 1 % of the side; corners: of these, the boxes that would
    be right if their x, y, width and height were x1, y1, x2 and y2.
    """
    low, high = corners[:, :2], corners[:, 2:]
    extent, edge = high - low, sizes + np.maximum(1, sizes / 100)
    outside = (sizes > 0).all(1) & ((high > edge) | (low < sizes - edge)).any(1)
    no_area = (extent <= 0).any(1)
    found = {
        "no_area": no_area,
        "outside": outside,
        "shares": ~no_area & (low >= 0).all(1) & (low <= 1).all(1) & (extent <= 1).all(1),
        "corners": outside & ((low >= 0) & (extent > low) & (extent <= edge)).all(1),
    }
    return {kind: int(own.sum()) for kind, own in found.items() if own.any()}


def in_words(found: Mapping[str, int], boxes: int, hints: Mapping[str, str] = HINTS) -> list[str]:
    """Return a sentence for each kind that was found among so many boxes, with what may be the cause."""
    sentences = []
    for kind, (one, several) in KINDS.items():
        if count := found.get(kind):
            corners = kind == "outside" and count > MAX_SHARE * boxes and 2 * found.get("corners", 0) > count
            hint = "corners" if corners else kind
            cause = f"; {hints[hint]}" if hint in hints else ""
            sentences.append(f"{count:,} of {boxes:,} boxes {one if count == 1 else several}{cause}")
    return sentences


def too_many(found: Mapping[str, int], boxes: int) -> bool:
    """Tell whether more than MAX_SHARE of so many boxes are odd in one way."""
    return any(found.get(kind, 0) > MAX_SHARE * boxes for kind in KINDS)
