"""The image index and the leakage guard: time, memory, growth, and which copies are found.

Search: 118,287 hashes are compared with 20,000, and 8,000 with 8,000, in all eight orientations. On 8,000 a loop over
blocks of all pairs is timed for comparison. Some hashes are of synthetic pictures with the power spectrum of
photographs, 2,000 of them copies with up to 15 changed bits; the others are of the miniature's scenes, which look much
alike.

Index: one process indexes a folder of photographs, with Pillow's decoding alone timed for comparison; then more and
more copies of them, each with extra bytes, so that no content is known already. Then each photograph, and each of as
many synthetic scenes of 672 x 672 pixels, is changed in many ways, and the shares that the guard finds are printed,
with JPEGs decoded at full size and, as the index does it, at a smaller one.

Seconds are processor time, which other work on the machine hardly changes.

Example: python benchmarks/leakage.py --images ../shared/data/coco-tiny > benchmarks/results/leakage.txt
"""

import argparse
import io
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.data import images as image_module
from vision_r1.data import likeness
from vision_r1.data.image_index import IndexedImage, dhash, examine, index_images
from vision_r1.data.images import load_image
from vision_r1.data.leakage import find_leaks
from vision_r1.data.likeness import MAX_DISTANCE, TURNS, likely_copies, turned
from vision_r1.data.scenes import draw_scenes
from vision_r1.data.worlds import WORLDS
from vision_r1.resources import peak_rss_mb, processor

TRAIN, BENCHMARK, COPIES = 118_287, 20_000, 2_000
PEER = 8_000  # hashes on each side, for the loop over all pairs


def made_hashes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 4) uint64: hashes of pictures of 9 x 9 cells, from low to high contrast.

    Their power falls with the square of the frequency.
    """
    frequency = np.hypot(np.fft.fftfreq(9)[:, None], np.fft.fftfreq(9)[None])
    frequency[0, 0] = np.inf
    parts = []
    for start in range(0, count, 10_000):
        noise = rng.normal(size=(min(10_000, count - start), 9, 9))
        cells = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
        cells *= rng.uniform(2, 80, (len(cells), 1, 1)) / cells.std(axis=(1, 2), keepdims=True)
        steps = np.stack([np.diff(cells[:, :8], axis=2), np.diff(cells[:, :, :8], axis=1)], axis=1)
        bits = np.stack([steps > 4, steps < -4], axis=1).reshape(len(cells), -1)
        parts.append(np.packbits(bits, axis=1).view(np.uint64))
    return np.concatenate(parts)


def all_pairs(ours: np.ndarray, theirs: np.ndarray) -> list[tuple[int, int, int]]:
    """Return what likely_copies finds, the slow way: by comparing every pair in every orientation, in blocks."""
    found = []
    for turn in TURNS:
        words, rows = turned(theirs, turn).T.copy(), 32
        for start in range(0, len(ours), rows):
            own = ours[start : start + rows].T.copy()
            distance = sum(
                np.bitwise_count(word[:, None] ^ other).astype(np.uint16)
                for word, other in zip(own, words, strict=True)
            )
            mine, their = np.divmod(np.flatnonzero(distance <= MAX_DISTANCE), len(theirs))
            found += zip((mine + start).tolist(), their.tolist(), [turn] * len(mine), strict=True)
    return sorted(found)


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(of)[:2]) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed_search(name: str, ours: np.ndarray, theirs: np.ndarray) -> list[likeness.Candidate]:
    began, used = time.perf_counter(), processor_seconds()
    found = likely_copies(ours, theirs)
    wall, used = time.perf_counter() - began, processor_seconds() - used
    say(
        f"  {len(ours):7,} x {len(theirs):6,}, {name:11} {used:6.2f} s ({wall:.2f} s wall), "
        f"{1e9 * used / len(ours) / len(theirs):5.1f} ns per pair, {len(found):,} found"
    )
    return found


def measure_search() -> None:
    rng = np.random.default_rng(0)
    train, benchmark = made_hashes(TRAIN, rng), made_hashes(BENCHMARK, rng)
    mine, theirs = rng.permutation(TRAIN)[:COPIES], rng.integers(BENCHMARK, size=COPIES)
    turns = rng.integers(len(TURNS), size=COPIES)
    for place, other, turn in zip(mine, theirs, turns, strict=True):
        bits = np.unpackbits(turned(benchmark[other : other + 1], int(turn)).view(np.uint8))
        bits[rng.permutation(256)[: rng.integers(MAX_DISTANCE + 1)]] ^= 1
        train[place] = np.packbits(bits).view(np.uint64)
    say(f"similar hashes, each pair in {len(TURNS)} orientations")
    held = peak_rss_mb()
    named = {pair[:3] for pair in timed_search("synthetic", train, benchmark)}
    planted = set(zip(mine.tolist(), theirs.tolist(), turns.tolist(), strict=True))
    say(f"  {len(planted & named):,} of the {COPIES:,} copies with up to {MAX_DISTANCE} changed bits are among them;")
    say(f"  the process used at most {peak_rss_mb()} MB, {held} MB before")
    for share in (4, 16):
        timed_search("synthetic", train[: TRAIN // share], benchmark)
    scenes = scene_hashes(2 * PEER)
    for name, ours, other in (
        ("synthetic", train[:PEER], benchmark[:PEER]),
        ("scenes", scenes[:PEER], scenes[PEER:]),
    ):
        found = timed_search(name, ours, other)
        began = processor_seconds()
        assert all_pairs(ours, other) == [pair[:3] for pair in found]
        seconds = processor_seconds() - began
        say(f"    a loop over all pairs: {seconds:.2f} s, {1e9 * seconds / PEER**2:.1f} ns per pair, the same result")


def scene_hashes(count: int) -> np.ndarray:
    """Return (count, 4) uint64: hashes of the miniature's plain scenes."""
    scenes = draw_scenes(WORLDS["miniature"].plain, count, 0)
    return np.frombuffer(
        bytes.fromhex("".join(dhash(Image.fromarray(each.image)) for each in scenes)), np.uint64
    ).reshape(-1, 4)


def measure_index(photographs: Sequence[Path], folder: Path) -> None:
    contents = [path.read_bytes() for path in photographs]
    say(f"\nimage index of {len(photographs)} photographs, {sum(map(len, contents)) / len(contents) / 1e3:.0f} KB each")

    def decode(content: bytes) -> None:
        with Image.open(io.BytesIO(content)) as image:
            image.load()

    for name, work in (
        ("Pillow's decoding alone", decode),
        ("the facts of the index", lambda content: examine(content, "")),
        ("the same, at full size", lambda content: dhash(load_image(io.BytesIO(content)))),
    ):
        fastest = np.full(len(contents), np.inf)
        for _ in range(3):
            for place, content in enumerate(contents):
                began = time.process_time()
                work(content)
                fastest[place] = min(fastest[place], time.process_time() - began)
        say(f"  {name:24} {1e3 * fastest.mean():5.2f} ms each, the fastest of three")

    for times in (1, 4, 16):
        paths = []
        for number in range(times):
            for place, content in enumerate(contents):
                paths.append(folder / f"{times}_{number}_{place}.jpg")
                paths[-1].write_bytes(content + bytes(number + 1))
        seconds = []
        for _ in range(2):
            began = processor_seconds()
            faults = [facts.fault for facts in index_images(list(map(str, paths)), folder / f"{times}.sqlite", 1)]
            seconds.append(processor_seconds() - began)
        assert not any(faults)
        first, again = seconds
        say(
            f"  {len(paths):6,} files, one process: {first:6.2f} s, {1e3 * first / len(paths):.2f} ms each; "
            f"again, cached: {again:.2f} s"
        )
        for path in paths:
            path.unlink()
    say(
        f"  at the last rate {TRAIN:,} photographs take {TRAIN * first / len(paths) / 60:.1f} minutes in one process, "
        f"{TRAIN * again / len(paths) / 60:.1f} if they are cached"
    )


def cropped(image: Image.Image, share: float, corner: bool = False) -> Image.Image:
    left, top = (0, 0) if corner else (image.width * share / 2, image.height * share / 2)
    size = image.width * (1 - share), image.height * (1 - share)
    return image.crop((round(left), round(top), round(left + size[0]), round(top + size[1])))


def saved(image: Image.Image, quality: int = 75) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


def scaled(image: Image.Image, share: float) -> Image.Image:
    return image.resize((round(image.width * share), round(image.height * share)))


def letterboxed(image: Image.Image) -> Image.Image:
    return ImageOps.pad(image, (max(image.size),) * 2, color=(114, 114, 114))


CHANGES = {
    "saved again, JPEG quality 30": lambda image: saved(image, 30),
    "half size": lambda image: scaled(image, 0.5),
    "double size": lambda image: scaled(image, 2),
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 180 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "mirrored, turned by 90 degrees, half size": lambda image: scaled(
        ImageOps.mirror(image).transpose(Image.Transpose.ROTATE_90), 0.5
    ),
    "30 grey levels brighter": lambda image: image.point(lambda value: min(255, value + 30)),
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "30 % darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "30 % more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "50 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.5),
    "grey": lambda image: image.convert("L"),
    "cropped by 5 %, middle": lambda image: cropped(image, 0.05),
    "cropped by 10 %, middle": lambda image: cropped(image, 0.1),
    "cropped by 10 %, corner": lambda image: cropped(image, 0.1, corner=True),
    "letterboxed": letterboxed,
}


def shares_found(paths: Sequence[Path], changed: dict[str, list[Path]], small: bool) -> dict[str, tuple[float, int]]:
    """Return, for each change, the share of images whose changed copy the guard matches to the original, and how many
    copies it matches to another image."""
    image_module.SMALL, usual = image_module.SMALL if small else 10**9, image_module.SMALL
    likeness._means.cache_clear()

    def indexed(role: str, place: int, path: Path) -> IndexedImage:
        facts = examine(path.read_bytes(), str(path))  # a name as checksum: only looks are compared
        return IndexedImage(role, "photographs", place, None, str(path), **vars(facts))

    benchmark = [indexed("benchmark", place, path) for place, path in enumerate(paths)]
    shares = {}
    for name, copies in changed.items():
        leaks, _ = find_leaks([indexed("train", place, path) for place, path in enumerate(copies)] + benchmark)
        found = {leak.path: leak.benchmark_path for leak in leaks}
        right = sum(found.get(str(copy)) == str(path) for copy, path in zip(copies, paths, strict=True))
        shares[name] = right / len(paths), len(found) - right
    image_module.SMALL = usual
    return shares


def measure_copies(kind: str, paths: Sequence[Path], folder: Path) -> None:
    changed = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        changed[name] = [folder / f"{kind}_{number}_{place}.jpg" for place in range(len(paths))]
        for path, copy in zip(paths, changed[name], strict=True):
            with Image.open(path) as image:
                saved(change(image.convert("RGB"))).save(copy, quality=75)
    whole, small = (shares_found(paths, changed, small) for small in (False, True))
    say(f"\nfound of {len(paths)} {kind}, changed and saved with JPEG quality 75       decoded whole     small")
    for name in CHANGES:
        say(f"  {name:64} {100 * whole[name][0]:5.1f} %   {100 * small[name][0]:5.1f} %")
    wrong = [sum(number for _, number in shares.values()) for shares in (whole, small)]
    say(f"  found in another image, of {len(paths) * len(CHANGES):,} copies {wrong[0]:30} {wrong[1]:9}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, type=Path, help="folder of photographs (JPEG, folders below it too)")
    args = parser.parse_args()
    say("$ python benchmarks/leakage.py --images DIR")
    say(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    measure_search()
    photographs = sorted(args.images.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        measure_index(photographs, folder)
        measure_copies("photographs", photographs, folder)
        scenes = [folder / f"{place}.jpg" for place in range(len(photographs))]
        for path, scene in zip(scenes, draw_scenes(WORLDS["miniature"].plain, len(scenes), 0), strict=True):
            Image.fromarray(scene.image).resize((672, 672)).save(path, quality=95)
        measure_copies("scenes", scenes, folder)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
