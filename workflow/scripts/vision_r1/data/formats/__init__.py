"""Annotations in other forms than COCO's, converted to it: one small module each.

Ours, although supervision 0.31 and datumaro 1.13 are well kept: the first brings OpenCV and a video decoder (100 MB)
and reads no CSV, the second brings OpenCV, lxml and Shapely (70 MB), and the readers here have some 500 lines.
"""

from collections.abc import Callable
from pathlib import Path

from vision_r1.data.formats import table, voc, yolo
from vision_r1.data.formats.labelled import Labelled

# Format -> its reader of (annotations, image folder).
READERS: dict[str, Callable[[Path, Path], Labelled]] = {"voc": voc.read, "yolo": yolo.read, "csv": table.read}
