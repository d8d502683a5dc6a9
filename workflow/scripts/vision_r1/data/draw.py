"""Stratified sampling: at random, but rare categories survive (ours)."""

import numpy as np


def draw_order(image: np.ndarray, stratum: np.ndarray, floor: int, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return places into the arrays (n,) of numbers, each image once, in the order in which to take them.

    First up to `floor` images of every stratum, the rarest stratum first; how many they are together is returned, too.
    Then images at random, and of an image with several strata one at random. A longer draw begins with a shorter one.
    """
    shuffled = rng.permutation(len(image))
    used = np.zeros(image.max(initial=-1) + 1, bool)
    first: list[int] = []
    if floor:
        numbers, sizes = np.unique(stratum, return_counts=True)
        grouped = shuffled[np.argsort(stratum[shuffled], kind="stable")]
        groups = np.split(grouped, np.cumsum(sizes)[:-1])
        for number in np.argsort(sizes, kind="stable"):
            # An image can stand for one stratum only, so a floor may take an image that shows a rarer one too.
            members = groups[number][~used[image[groups[number]]]][:floor]
            used[image[members]] = True
            first += members.tolist()
    rest = shuffled[~used[image[shuffled]]]
    _, one_each = np.unique(image[rest], return_index=True)
    return np.concatenate([np.array(first, np.int64), rest[rng.permutation(one_each)]]), len(first)
