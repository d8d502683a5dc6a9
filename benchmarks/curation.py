"""Time and memory of curation at COCO's size, compared with pycocotools' index of the same file.

Makes an annotation file of COCO train2017's size (118,287 images, 860,001 annotations with polygons), and one a tenth
of that size. Each measurement runs in a separate process: seconds of the work without imports, seconds of the whole
process, and peak memory. Curating means reading, filtering, sampling (30K + 9K + 1K negatives) and writing; counting
tokens, with the miniature's tokenizer, is measured separately. leakage.py measures the image index.

Example: python benchmarks/curation.py --folder benchmark_data > benchmarks/results/curation.txt
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
IMAGES, ANNOTATIONS = 118_287, 860_001


def make_annotations(path: Path, share: float) -> None:
    """Write `share` of a file like COCO train2017's, with its numbers of images and annotations, polygons and skew."""
    rng = np.random.default_rng(0)
    images, annotations = round(IMAGES * share), round(ANNOTATIONS * share)
    sizes = rng.choice([(640, 480), (480, 640), (640, 427), (500, 375)], images)
    ids = rng.permutation(600_000)[:images] + 1
    weights = np.arange(1, 81) ** -0.8
    categories = rng.choice(80, annotations, p=weights / weights.sum()) + 1
    places = rng.integers(images, size=annotations)
    polygons = [json.dumps((rng.random(2 * n) * 400).round(2).tolist()) for n in rng.integers(6, 40, 5000)]
    corner = rng.random((annotations, 2)) * sizes[places] * 0.8
    extent = rng.random((annotations, 2)) * (sizes[places] - corner)
    boxes = np.hstack([corner, extent]).round(2).tolist()
    crowds = rng.random(annotations) < 0.01
    with path.open("w") as file:
        file.write('{"info": {}, "licenses": [], "images": [')
        url = "http://images.cocodataset.org/train2017/"
        file.write(
            ", ".join(
                f'{{"license": 3, "file_name": "{number:012d}.jpg", "coco_url": "{url}{number:012d}.jpg", '
                f'"height": {height}, "width": {width}, "date_captured": "2013-11-14 11:18:45", '
                f'"flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg", "id": {number}}}'
                for number, (width, height) in zip(ids.tolist(), sizes.tolist(), strict=True)
            )
        )
        file.write('], "annotations": [')
        for number, box in enumerate(boxes):
            file.write(", " if number else "")
            file.write(
                f'{{"segmentation": [{polygons[number % len(polygons)]}], "area": {box[2] * box[3] / 2:.4f}, '
                f'"iscrowd": {int(crowds[number])}, "image_id": {ids[places[number]]}, "bbox": {box}, '
                f'"category_id": {categories[number]}, "id": {number + 1}}}'
            )
        names = [{"supercategory": "thing", "id": number, "name": f"category {number}"} for number in range(1, 81)]
        file.write(f'], "categories": {json.dumps(names)}}}')


def index_with_pycocotools(file: Path) -> dict[str, float]:
    from pycocotools.coco import COCO

    started = time.perf_counter()
    COCO(str(file))
    return {"seconds": time.perf_counter() - started}


def curate(file: Path) -> dict[str, float]:
    from vision_r1.data.curation import Recipe, curate
    from vision_r1.data.mixture import Draw
    from vision_r1.data.sources import read_sources
    from vision_r1.data.tokens import ProcessorTokens
    from vision_r1.data.worlds import WORLDS
    from vision_r1.families import family
    from vision_r1.files import write_jsonl
    from vision_r1.miniature.processor import make_processor

    tokens = ProcessorTokens(make_processor(WORLDS["miniature"]))
    counting = 0.0

    class Timed:
        def count(self, rows):
            nonlocal counting
            started = time.perf_counter()
            lengths = tokens.count(rows)
            counting += time.perf_counter() - started
            return lengths

    qwen = family("qwen2_5_vl")
    qwen.input_size(640, 480, 784, 401408)  # imports the processor's resizing rule
    gc.disable()  # as curate_train.py does
    draws = (Draw("detection", 30_000), Draw("grounding", 9_000), Draw("negative", 1_000))
    recipe = Recipe(draws, 50, None, 10, 1, 30, 784, 401408, None, None, 0.005, (), "shuffle", 0)
    started = time.perf_counter()
    sources = read_sources([("coco", "coco", str(file), "train2017")])
    rows, tally, _ = curate(sources, qwen, recipe, {}, Timed())
    write_jsonl(file.with_suffix(".jsonl"), rows)
    return {"seconds": time.perf_counter() - started - counting, "counting_tokens": counting, "rows": len(rows)}


MEASUREMENTS = {"pycocotools": index_with_pycocotools, "curate": curate}


def measured(kind: str, file: Path) -> dict[str, float]:
    """Run a measurement in a separate process, and add the process's wall seconds and peak memory, MB."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--folder", str(file.parent), "--measure", kind, str(file)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(finished.stdout.splitlines()[-1]), "process": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the annotation files, 600 MB; kept")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement; the fastest counts")
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FILE"), help="one measurement (for internal use)")
    args = parser.parse_args()
    if args.measure:
        from vision_r1.resources import peak_rss_mb

        kind, file = args.measure
        say(json.dumps({**MEASUREMENTS[kind](Path(file)), "peak_mb": peak_rss_mb()}))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    say(f"$ python benchmarks/curation.py --folder DIR --repeats {args.repeats}")
    results = {}
    for name, share in (("10 %", 0.1), ("100 %", 1.0)):
        file = args.folder / f"annotations_{share:g}.json"
        if not file.exists():
            make_annotations(file, share)
        say(f"\n{name} of COCO train2017's size, {file.stat().st_size / 1e6:.0f} MB of JSON")
        runs = {kind: [] for kind in MEASUREMENTS}
        for _ in range(args.repeats):  # alternating, so that other work on the machine slows both alike
            for kind in MEASUREMENTS:
                runs[kind].append(measured(kind, file))
        for kind in MEASUREMENTS:
            best = results[name, kind] = min(runs[kind], key=lambda run: run["seconds"])
            say(f"  {kind:12}" + "  ".join(f"{key} {value:,.1f}" for key, value in best.items()))
    ours, theirs, small = results["100 %", "curate"], results["100 %", "pycocotools"], results["10 %", "curate"]
    say(
        f"\ncurating takes {ours['seconds'] / theirs['seconds']:.2f} of the time of pycocotools' index alone, "
        f"and {ours['peak_mb'] / theirs['peak_mb']:.2f} of its memory\n"
        f"from 10 % to 100 % of the file: time x {ours['seconds'] / small['seconds']:.1f}, "
        f"memory x {ours['peak_mb'] / small['peak_mb']:.1f}"
    )


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
