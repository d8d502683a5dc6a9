"""What the index records about images besides their faults."""

import logging

import coco_factory
import index_images
from PIL import Image


def test_a_rotation_that_sizes_do_not_reveal_is_reported(tmp_path, caplog):
    annotations, images = coco_factory.write(tmp_path)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    with Image.open(tmp_path / "images" / names[1]) as image:
        image.save(tmp_path / "images" / names[1], exif=exif)
    words = ["--train", "coco", "mine", annotations, images, "--cache", str(tmp_path / "cache.sqlite")]
    with caplog.at_level(logging.WARNING):
        index_images.main([*words, "--output_index", str(tmp_path / "images.jsonl")])
    (line,) = [record.getMessage() for record in caplog.records if "turned" in record.getMessage()]
    assert line.startswith("1 images are turned by 180 degrees or mirrored") and line.endswith(names[1])
