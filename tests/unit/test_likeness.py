"""Hashes that differ in few bits, in all orientations, and the copies of photographs that they find."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from vision_r1.data import likeness
from vision_r1.data.image_index import IndexedImage, dhash, examine
from vision_r1.data.images import load_image
from vision_r1.data.leakage import find_leaks
from vision_r1.data.likeness import MAX_DISTANCE, TURNS, Candidate, likely_copies, near, turned, turned_image, turnless


def hashes(images):
    return np.frombuffer(bytes.fromhex("".join(map(dhash, images))), np.uint64).reshape(-1, 4)


def flipped(hash_of_one, places):
    bits = np.unpackbits(hash_of_one.view(np.uint8))
    bits[list(places)] ^= 1
    return np.packbits(bits).view(np.uint64)


def steps(rng, count, share):
    """Return hashes with a share of the bits set; a step may be brighter or darker, never both."""
    kind = rng.choice(3, (count, 128), p=[1 - 2 * share, share, share])
    return np.packbits(np.concatenate([kind == 1, kind == 2], axis=1), axis=1).view(np.uint64)


def changed_copies(rng, hashes, count):
    """Return hashes of some images in random orientations, with 12 to 18 bits changed."""
    chosen = hashes[rng.integers(len(hashes), size=count)]
    turns = rng.integers(len(TURNS), size=count)
    chosen = [turned(one[None], turn)[0] for one, turn in zip(chosen, turns, strict=True)]
    copies = [flipped(one, rng.permutation(256)[: rng.integers(12, 19)]) for one in chosen]
    return np.array(copies, np.uint64).reshape(-1, 4)


@pytest.fixture(params=[(64, 4096), (3, 5)], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(likeness, "ROWS", request.param[0])
    monkeypatch.setattr(likeness, "COLUMNS", request.param[1])


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the blocks are the same for all examples
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 0.4]), st.integers(0, 40), st.integers(1, 40))
def test_the_search_finds_the_same_as_comparing_all_pairs_in_all_orientations(blocks, seed, share, ours, theirs):
    """Images with little contrast have few bits set, so all of them are similar."""
    rng = np.random.default_rng(seed)
    other = steps(rng, theirs, share)
    mine = np.concatenate([steps(rng, ours, share), changed_copies(rng, other, ours // 2)])
    distance = np.bitwise_count(mine[:, None] ^ other[None]).sum(-1, dtype=int)
    assert near(mine, other).tolist() == np.argwhere(distance <= MAX_DISTANCE).tolist()
    distance = np.stack([np.bitwise_count(mine[:, None] ^ turned(other, turn)).sum(-1, dtype=int) for turn in TURNS], 2)
    places = np.argwhere(distance <= MAX_DISTANCE).tolist()
    assert likely_copies(mine, other) == [(*place, distance[tuple(place)]) for place in places]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.1, 0.4]), st.sampled_from(TURNS))
def test_turnless_hashes_are_never_farther_apart(seed, share, turn):
    rng = np.random.default_rng(seed)
    ours, theirs = steps(rng, 20, share), steps(rng, 20, share)
    theirs[:10] = changed_copies(rng, ours, 10)
    assert (turnless(turned(ours, turn)) == turnless(ours)).all()
    with_turn, without = (
        np.bitwise_count(one ^ other).sum(1, dtype=int)
        for one, other in ((turned(ours, turn), theirs), (turnless(ours), turnless(theirs)))
    )
    assert (without <= with_turn).all()


def test_hashes_that_differ_in_every_bit_are_not_similar():
    """A distance of 256 would be 0 in 8 bits."""
    one = np.full((1, 4), 2**32 - 1, np.uint64)
    assert near(one, ~one).tolist() == []


@pytest.mark.parametrize("places", [range(0, 256, 17)[:15], range(15), range(200, 215)])
def test_no_choice_of_changed_bits_hides_a_copy(places):
    (one,) = np.random.default_rng(0).integers(2**63, size=(1, 4)).astype(np.uint64)
    assert near(flipped(one, places)[None], one[None]).tolist() == [[0, 0]]
    assert near(flipped(one, range(16))[None], one[None]).tolist() == []


def test_a_turned_hash_is_the_hash_of_the_turned_image():
    noise = np.random.default_rng(0).integers(256, size=(5, 12, 12, 3), dtype=np.uint8)
    images = [Image.fromarray(each).resize((96, 96), Image.Resampling.BICUBIC) for each in noise]
    for turn in TURNS:
        really = hashes([Image.fromarray(np.ascontiguousarray(turned_image(np.asarray(i), turn))) for i in images])
        # Resizing rounds slightly differently in the two directions.
        assert np.bitwise_count(really ^ turned(hashes(images), turn)).sum(-1).max() <= 4
    mirrored, upside_down = (hashes([turn(images[2])]) for turn in (ImageOps.mirror, ImageOps.flip))
    assert [pair[:3] for pair in likely_copies(np.concatenate([mirrored, upside_down]), hashes(images))] == [
        (0, 2, 1),
        (1, 2, 2),
    ]


def test_nothing_to_compare():
    nothing = np.zeros((0, 4), np.uint64)
    one = np.zeros((1, 4), np.uint64)
    assert likely_copies(nothing, one) == likely_copies(one, nothing) == []
    assert likely_copies(one, one)[0] == Candidate(0, 0, 0, 0)


CHANGES = {
    "mirrored": (ImageOps.mirror, 1),
    "turned": (lambda image: image.transpose(Image.Transpose.ROTATE_90), 1),
    "turned and mirrored": (lambda image: ImageOps.flip(image).transpose(Image.Transpose.ROTATE_270), 1),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.2), 0.85),
    "darker": (lambda image: ImageEnhance.Brightness(image).enhance(0.7), 0.85),
    "more contrast": (lambda image: ImageEnhance.Contrast(image).enhance(1.3), 0.85),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_copies_of_photographs_are_found(coco_tiny, tmp_path, name):
    change, least = CHANGES[name]
    paths = sorted((coco_tiny / "val2017").iterdir())[:40]
    lines = []
    for place, path in enumerate(paths):
        copy = tmp_path / f"{place}.jpg"
        change(load_image(path)).save(copy, quality=75)
        for role, each in (("train", copy), ("benchmark", path)):
            lines.append(
                IndexedImage(role, "set", place, None, str(each), **vars(examine(each.read_bytes(), str(each))))
            )
    leaks, statistics = find_leaks(lines)
    assert {(leak.path, leak.benchmark_path) for leak in leaks} <= {
        (str(tmp_path / f"{place}.jpg"), str(path)) for place, path in enumerate(paths)
    }
    assert len(leaks) >= least * len(paths)
    assert "mirrored" in statistics["searched_for"] and "cropped" in statistics["not_searched_for"]
