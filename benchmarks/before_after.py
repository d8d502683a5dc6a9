"""README's picture: the first test scenes with several objects, with boxes of ground truth, base model and last stage.

Example, after make demo: python benchmarks/before_after.py docs/before_after.png
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow/scripts"))
from vision_r1.data.coco import read_coco
from vision_r1.files import read_jsonl
from vision_r1.report.drawing import Objects, draw_boxes, palette
from vision_r1.report.gallery import detections

RUN = Path("results/miniature")
ROWS = {"ground truth": None, "base model": "base", "after GRPO": "strict/grpo_stage2"}
PROTOCOL = "released-one-prompt"
SCENES, SIDE, GAP, MARGIN = 5, 180, 8, 110  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="PNG file to write")
    args = parser.parse_args()
    folder = RUN / "data/scenes/scenes_test"
    scenes = read_coco("scenes_test", folder / "annotations.json", folder / "images")
    chosen = [image for image in scenes.images if len(image.objects) > 1][:SCENES]
    colours = palette(scenes.categories.values())
    size = (MARGIN + SCENES * (SIDE + GAP) - GAP, len(ROWS) * (SIDE + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for row, (title, checkpoint) in enumerate(ROWS.items()):
        top = row * (SIDE + GAP)
        pen.text((4, top + SIDE // 2 - 8), title, fill="black", font=font)
        lines = read_jsonl(RUN / f"predictions/{checkpoint}/shapes.jsonl") if checkpoint else []
        answers = {line["image_id"]: line for line in lines if line["protocol"] == PROTOCOL}
        for column, image in enumerate(chosen):
            boxes = np.array([item.corners for item in image.objects])
            truth = Objects(boxes, tuple(item.label for item in image.objects))
            shown = detections([answers[image.id]]) if checkpoint else truth
            drawn = draw_boxes(Image.open(image.path).convert("RGB"), shown, colours, SIDE)
            sheet.paste(drawn.resize((SIDE, SIDE)), (MARGIN + column * (SIDE + GAP), top))
    sheet.quantize(128).save(args.output, optimize=True)


if __name__ == "__main__":
    main()
