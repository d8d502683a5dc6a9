"""Annotations in other forms than COCO's, turned into it: one small file each.

Ours: supervision 0.31 and datumaro 1.13 are well kept, but the first, with OpenCV and a video decoder (100 MB), reads
no CSV, and the second brings OpenCV, lxml and Shapely (70 MB) for what is 300 lines here.
"""

from collections.abc import Callable
from pathlib import Path

from vision_r1.data.formats import table, voc, yolo
from vision_r1.data.formats.labelled import Labelled

# Format -> its reader of (annotations, image folder).
READERS: dict[str, Callable[[Path, Path], Labelled]] = {"voc": voc.read, "yolo": yolo.read, "csv": table.read}
