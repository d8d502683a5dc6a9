"""Which images look alike: hashes of few different bits name candidates, comparing pixels confirms them (ours).

Found are copies that were saved again, resized, turned by quarter turns, mirrored, made brighter, darker or of other
contrast. Shares of photographs found, by how they were changed: benchmarks/results/leakage.txt.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from vision_r1.data.images import load_image

SEARCHED = (
    "saved again (JPEG quality 30 and up), resized, turned by 90, 180 or 270 degrees, mirrored, made a fifth brighter, "
    "a third darker or of more contrast"
)
NOT_SEARCHED = "cropped, letterboxed, made grey, made brighter by half, or pasted into another image"

# Copies of photographs differ in at most 8 bits of 256 where they were saved again and resized, in 16 where they are a
# fifth brighter; 160 other photographs in 55 or more. Synthetic scenes lie closer, so pixels have the last word.
MAX_DISTANCE = 15
SAME_DISTANCE = 10  # of copies in the same light
BLOCKS = 16  # one more than MAX_DISTANCE: that many bits can't change every block
TURNS = range(8)  # all quarter turns, and all of them mirrored: see turned
CHUNK = 250_000  # pairs compared at once, some 30 MB

# Compared as 16 x 16 means, with 0..255 a channel. Copies of one size differ by at most 5 on average and 58 anywhere.
CELLS = 16
MAX_MEAN_DIFFERENCE = 10
MAX_DIFFERENCE = 64
# Light and contrast that were changed leave the cells on a line. Of 41,000 pairs of synthetic scenes with like hashes
# the nearest to one had a correlation of 0.985, of 12,720 pairs of photographs 0.77.
MIN_CORRELATION = 0.99
MIN_SPREAD = 10  # standard deviation of the cells; a plain image lies on a line with anything


class Candidate(NamedTuple):
    """Two images of like hashes: places in two lists, the turn of the second one, and how many bits differ."""

    ours: int
    theirs: int
    turn: int
    distance: int


def likely_copies(ours: np.ndarray, theirs: np.ndarray) -> list[Candidate]:
    """Return where a hash of ours is near to a hash of theirs, turned in any way, in the order of ours, then theirs.

    Hashes are (n, 4) uint64, the 256 bits of vision_r1.data.images.dhash.
    """
    all_turned = np.concatenate([turned(theirs, turn) for turn in TURNS])
    mine, place = near(ours, all_turned).T
    turn, other = np.divmod(place, max(1, len(theirs)))
    distance = np.bitwise_count(ours[mine] ^ all_turned[place]).sum(1, dtype=np.uint16)
    return sorted(map(Candidate, mine.tolist(), other.tolist(), turn.tolist(), distance.tolist()))


def near(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return (n, 2) places of hashes that differ in at most MAX_DISTANCE bits, sorted.

    Such hashes agree in at least one of BLOCKS blocks of bits. So only hashes with an equal block are compared, which
    sorting finds, and not every pair.
    """
    found = [np.zeros(0, np.int64)]
    for own, other in zip(_blocks(ours).T, _blocks(theirs).T, strict=True):
        order = np.argsort(other, kind="stable")
        first, last = (np.searchsorted(other[order], own, side) for side in ("left", "right"))
        ends = np.cumsum(last - first)
        for start in range(0, int(ends[-1]) if len(ends) else 0, CHUNK):
            number = np.arange(start, min(start + CHUNK, ends[-1]))
            mine = np.searchsorted(ends, number, side="right")
            theirs_place = order[number - ends[mine] + last[mine]]
            distance = np.bitwise_count(ours[mine] ^ theirs[theirs_place]).sum(1, dtype=np.uint16)
            close = distance <= MAX_DISTANCE
            found.append(mine[close] * len(theirs) + theirs_place[close])
    pairs = np.unique(np.concatenate(found))
    return np.stack(np.divmod(pairs, max(1, len(theirs))), axis=1)


def _blocks(hashes: np.ndarray) -> np.ndarray:
    """Return (n, BLOCKS) numbers of 16 bits each, drawn from all over the hash: neighbours are often equal."""
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    order = np.random.default_rng(0).permutation(256)
    return np.ascontiguousarray(np.packbits(bits[:, order], axis=1)).view(np.uint16)


def turned(hashes: np.ndarray, turn: int) -> np.ndarray:
    """Return the hashes that images would have after a turn (see turned_image), without looking at them again.

    Turning an image moves its steps of brightness, and reverses those along an axis that is mirrored.
    """
    bits = np.unpackbits(hashes.view(np.uint8), axis=1).reshape(-1, 2, 2, 8, 8).astype(np.int8)
    along, down = (bits[:, 0] - bits[:, 1]).swapaxes(0, 1)  # to the right neighbour, to the one below
    if turn & 4:
        along, down = down.swapaxes(1, 2), along.swapaxes(1, 2)
    if turn & 2:
        along, down = along[:, ::-1], -down[:, ::-1]
    if turn & 1:
        along, down = -along[:, :, ::-1], down[:, :, ::-1]
    steps = np.stack([along, down], axis=1)
    return np.packbits(np.stack([steps > 0, steps < 0], axis=1).reshape(-1, 256), axis=1).view(np.uint64)


def turned_image(image: np.ndarray, turn: int) -> np.ndarray:
    """Return an image (height, width, channels): rows and columns exchanged (4), upside down (2), mirrored (1)."""
    if turn & 4:
        image = image.swapaxes(0, 1)
    if turn & 2:
        image = image[::-1]
    return image[:, ::-1] if turn & 1 else image


def same_pixels(path: str, other: str, turn: int = 0, distance: int = 0) -> bool:
    """Tell whether an image shows the same as another one after a turn; distance: bits that their hashes differ in.

    Small, they differ little on average, and nowhere much; or one is the other in another light, or turned.
    """
    mine, theirs = _means(path), turned_image(_means(other), turn)
    if turn == 0 and distance <= SAME_DISTANCE:
        difference = np.abs(mine - theirs)
        if difference.mean() <= MAX_MEAN_DIFFERENCE and difference.max() <= MAX_DIFFERENCE:
            return True
    if min(mine.std(), theirs.std()) < MIN_SPREAD:
        return False
    return bool(np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] >= MIN_CORRELATION)


@cache
def _means(path: str) -> np.ndarray:
    return np.asarray(load_image(path).resize((CELLS, CELLS), Image.Resampling.BOX), np.float32)
