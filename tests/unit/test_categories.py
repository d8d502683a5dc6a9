"""Which categories are asked for, and which entries are not categories."""

import coco_factory
import pytest

from vision_r1.data.categories import unused_roots_and_placeholders
from vision_r1.data.coco import read_coco
from vision_r1.data.coco_file import CategoryEntry


def dropped(entries, used=()):
    """entries: (name, supercategory), numbered from 1."""
    categories = [CategoryEntry(number, *entry) for number, entry in enumerate(entries, start=1)]
    return list(unused_roots_and_placeholders(categories, used))


@pytest.mark.parametrize(
    ("entries", "used", "expected"),
    [
        ([("raccoons", "none"), ("raccoon", "raccoons")], {2}, [1]),
        ([("pothole", "none"), ("pothole", "pothole")], {2}, [1]),
        ([("vehicle", "none"), ("car", "vehicle")], {1, 2}, []),  # a parent that has boxes
        ([("person", "person"), ("bicycle", "vehicle")], {2}, []),  # COCO's person is its own supercategory
        ([("cat", None), ("dog", None)], set(), []),  # no annotation at all
        ([("N/A", None), ("cat", None), ("n/a", None), ("Background", None)], {2}, [1, 3, 4]),
        ([("none", None), ("cat", None)], {1, 2}, []),  # a placeholder's name, but it has boxes
        ([("", None), ("cat", None)], {2}, [1]),
        ([("cat", None), ("dog", None), ("cat", None)], {2}, [3]),
        ([("cat", None), ("dog", None), ("cat", None)], {2, 3}, [1]),
        ([("a", "b"), ("b", "c"), ("c", None)], {1}, [2, 3]),  # parents of parents
    ],
)
def test_roots_placeholders_and_repeated_names_without_boxes(entries, used, expected):
    assert dropped(entries, used) == expected


def test_entries_are_dropped_for_every_reader_and_logged(tmp_path, caplog):
    coco = coco_factory.content({1: [(2, [10, 20, 30, 40])]}, ["shapes", "circle", "N/A"])
    coco["categories"][1]["supercategory"] = "shapes"
    for merge_names in (True, False):
        dataset = read_coco("set", *coco_factory.write(tmp_path, coco), merge_names=merge_names)
        assert (dataset.categories, dataset.dropped) == ({2: "circle"}, {1: "shapes", 3: "N/A"})
    assert "entries that are not categories ('shapes', 'N/A'): 2" in caplog.text
