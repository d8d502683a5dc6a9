"""Which images look alike: hashes of few different bits name candidates, comparing pixels confirms them (ours).

Found are copies that were saved again, resized, turned by quarter turns, mirrored, made brighter, darker or of other
contrast. Shares of photographs found, by how they were changed: benchmarks/results/leakage.txt.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from vision_r1.data.images import load_small

SEARCHED = (
    "saved again (JPEG quality 30 and up), resized, turned by 90, 180 or 270 degrees, mirrored, made a fifth brighter, "
    "a third darker or of more contrast"
)
NOT_SEARCHED = "cropped, letterboxed, made grey, made brighter by half, or pasted into another image"

# Copies of photographs differ in at most 8 bits of 256 where they were saved again and resized, in 16 where they are a
# fifth brighter; 160 other photographs in 55 or more. Synthetic scenes lie closer, so pixels have the last word.
MAX_DISTANCE = 15
SAME_DISTANCE = 10  # of copies in the same light
TURNS = range(8)  # all quarter turns, and all of them mirrored: see turned
ROWS, COLUMNS = 64, 4096  # hashes compared at once: 2 MB

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

    Hashes are (n, 4) uint64, the 256 bits of vision_r1.data.image_index.dhash.
    """
    mine, other = near(turnless(ours), turnless(theirs)).T
    found: list[Candidate] = []
    for turn in TURNS:
        distance = np.bitwise_count(ours[mine] ^ turned(theirs, turn)[other]).sum(1, dtype=np.uint16)
        close = distance <= MAX_DISTANCE
        columns = mine[close], other[close], np.full(close.sum(), turn), distance[close]
        found += map(Candidate, *(column.tolist() for column in columns))
    return sorted(found)


def near(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return (n, 2) places of hashes that differ in at most MAX_DISTANCE bits, sorted.

    Every pair is compared whose numbers of set bits differ by no more than that: in blocks that stay in the
    processor's cache, so that the time is the same for plain images, whose hashes are much alike.
    """
    set_bits, their_set_bits = (np.bitwise_count(hashes).sum(1, dtype=np.int16) for hashes in (ours, theirs))
    order, their_order = np.argsort(set_bits), np.argsort(their_set_bits)
    set_bits, their_set_bits = set_bits[order], their_set_bits[their_order]
    words, their_words = ours[order].T.copy(), theirs[their_order].T.copy()
    found = [np.zeros((2, 0), np.int64)]
    for row in range(0, len(ours), ROWS):
        rows = slice(row, row + ROWS)
        fewest, most = set_bits[rows][[0, -1]]
        first, last = np.searchsorted(their_set_bits, (fewest - MAX_DISTANCE, most + MAX_DISTANCE + 1))
        for column in range(first, last, COLUMNS):
            columns = slice(column, min(column + COLUMNS, last))
            differing = (
                np.bitwise_count(word[rows, None] ^ their_word[columns])
                for word, their_word in zip(words, their_words, strict=True)
            )
            distance = sum(differing, start=np.uint16())  # 8 bits would take 256 for 0
            place, their_place = np.divmod(np.flatnonzero(distance <= MAX_DISTANCE), distance.shape[1])
            found.append(np.stack([order[row + place], their_order[column + their_place]]))
    pairs = np.concatenate(found, axis=1)
    return pairs[:, np.lexsort(pairs[::-1])].T


def turnless(hashes: np.ndarray) -> np.ndarray:
    """Return hashes (n, 4) that are the same for all turns of an image, so that one comparison does for eight.

    A turn exchanges bits within sets of 8. Here the bits of a set stand in order, set ones first, which says how many
    there are. Two such hashes differ in no more bits than the hashes that they are of, however one of these is turned.
    """
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    number = bits[:, _exchanged_bits()].sum(2, dtype=np.uint8)
    return np.packbits(number[:, :, None] > np.arange(8, dtype=np.uint8), axis=2)[:, :, 0].view(np.uint64)


@cache
def _exchanged_bits() -> np.ndarray:
    """Return (32, 8) places of bits in a hash: turns exchange those of a row."""
    each = np.packbits(np.eye(256, dtype=np.uint8), axis=1).view(np.uint64)
    moved = sum(np.unpackbits(turned(each, turn).view(np.uint8), axis=1) for turn in TURNS)
    return np.unique([np.flatnonzero(row) for row in moved], axis=0)


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
    return np.asarray(load_small(path)[0].resize((CELLS, CELLS), Image.Resampling.BOX), np.float32)
