"""The leakage guard: time and memory of the search for like hashes at COCO's size, and which copies are found.

118,287 hashes are compared with 20,000 in all eight turns. The hashes are those of made pictures with the power
spectrum of photographs; 2,000 are copies of which up to 15 bits were turned. With --images, a folder of photographs,
each is changed in many ways, and the share that the guard finds is printed, next to the share of false finds among
pairs of different photographs.

Example: python benchmarks/leakage.py --images ../shared/data/coco-tiny > benchmarks/results/leakage.txt
"""

import argparse
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.data.images import ImageFacts, examine
from vision_r1.data.leakage import IndexedImage, find_leaks
from vision_r1.data.likeness import MAX_DISTANCE, TURNS, likely_copies, turned
from vision_r1.resources import peak_rss_mb

TRAIN, BENCHMARK, COPIES = 118_287, 20_000, 2_000


def made_hashes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 4) uint64: hashes of pictures of 9 x 9 cells, of much contrast and of little.

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


def measure_search() -> None:
    rng = np.random.default_rng(0)
    train, benchmark = made_hashes(TRAIN, rng), made_hashes(BENCHMARK, rng)
    mine, theirs = rng.permutation(TRAIN)[:COPIES], rng.integers(BENCHMARK, size=COPIES)
    turns = rng.integers(len(TURNS), size=COPIES)
    for place, other, turn in zip(mine, theirs, turns, strict=True):
        bits = np.unpackbits(turned(benchmark[other : other + 1], int(turn)).view(np.uint8))
        bits[rng.permutation(256)[: rng.integers(MAX_DISTANCE + 1)]] ^= 1
        train[place] = np.packbits(bits).view(np.uint64)
    held, began, used = peak_rss_mb(), time.perf_counter(), time.process_time()
    found = likely_copies(train, benchmark)
    say(
        f"{TRAIN:,} x {BENCHMARK:,} hashes, each in {len(TURNS)} turns: {time.perf_counter() - began:.1f} s "
        f"({time.process_time() - used:.1f} s of processor time); the process held at most {peak_rss_mb()} MB, "
        f"{held} MB before"
    )
    planted = set(zip(mine.tolist(), theirs.tolist(), turns.tolist(), strict=True))
    named = {(pair.ours, pair.theirs, pair.turn) for pair in found}
    say(f"of {COPIES:,} copies with up to {MAX_DISTANCE} changed bits {len(planted & named):,} are found")
    say(f"{len(named - planted):,} other pairs are named, which pixels then decide\n")


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


def shares_found(paths: list[Path], folder: Path) -> dict[str, float]:
    """Return, by change, the share of images whose changed copy (JPEG quality 75) the guard finds in the original."""

    def indexed(role: str, place: int, path: Path) -> IndexedImage:
        facts: ImageFacts = examine(path.read_bytes(), str(path))  # names, not checksums: looks alone shall tell
        return IndexedImage(role, "photographs", place, None, str(path), **vars(facts))

    benchmark = [indexed("benchmark", place, path) for place, path in enumerate(paths)]
    shares = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        copies = []
        for place, path in enumerate(paths):
            with Image.open(path) as image:
                copies.append(folder / f"{number}_{place}.jpg")
                saved(change(image.convert("RGB"))).save(copies[-1], quality=75)
        leaks, _ = find_leaks([indexed("train", place, path) for place, path in enumerate(copies)] + benchmark)
        found = {leak.path: leak.benchmark_path for leak in leaks}
        right = sum(found.get(str(copy)) == str(path) for copy, path in zip(copies, paths, strict=True))
        assert right == len(found), "a photograph was taken for another one"
        shares[name] = right / len(paths)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of photographs (JPEG, folders below it too)")
    args = parser.parse_args()
    say(f"$ python benchmarks/leakage.py --images DIR   # {os.cpu_count()} cores")
    measure_search()
    if args.images:
        paths = sorted(args.images.rglob("*.jpg"))
        say(f"of {len(paths)} photographs, changed and saved with JPEG quality 75, are found")
        with tempfile.TemporaryDirectory() as folder:
            for name, share in shares_found(paths, Path(folder)).items():
                say(f"  {name:42} {100 * share:5.1f} %")
        say("and no photograph is taken for another one")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
