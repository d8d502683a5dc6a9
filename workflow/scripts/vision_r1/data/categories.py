"""Which categories of a file are asked for: one function for training, prompts, negatives and scoring.

Some entries of `categories` are not categories. Roboflow exports name a root that is the supercategory of all others;
label lists have gaps, filled with "N/A"; merged files name a category twice. A question for such an entry has no right
answer, and as a negative it teaches that nothing is there where something is.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from vision_r1.data.coco_file import CategoryEntry
from vision_r1.files import UserError, is_one_line
from vision_r1.parsing import label_key

SPECIAL_TOKEN = re.compile(r"<\|[^|>]*\|>")  # a tokenizer reads it as a turn's end or an image, not as text
# Placeholders, as label_key writes them; they are dropped where no annotation uses them.
PLACEHOLDERS = frozenset(("", "n/a", "none", "null", "background", "_background_", "__background__", "__ignore__"))


def unused_roots_and_placeholders(entries: Sequence[CategoryEntry], used: Collection[int]) -> dict[int, str]:
    """Return the entries that are not categories, id -> name. What an annotation uses (id in `used`) stays.

    They are: another's supercategory; a placeholder; a name that an earlier entry, or one with annotations, has.
    """
    parents: dict[str, set[int]] = {}
    for entry in entries:
        if entry.supercategory:
            parents.setdefault(entry.supercategory, set()).add(entry.id)
    taken = {entry.name for entry in entries if entry.id in used}
    dropped = {}
    for entry in entries:
        if entry.id in used:
            continue
        is_parent = bool(parents.get(entry.name, set()) - {entry.id})
        if is_parent or entry.name in taken or label_key(entry.name) in PLACEHOLDERS:
            dropped[entry.id] = entry.name
        else:
            taken.add(entry.name)
    return dropped


def asked_for(source: str | Path, entries: Sequence[CategoryEntry], merge_names: bool) -> Mapping[int, str]:
    """Return the name of each category by its id; under `merge_names`, those of one name get the first's spelling.

    Raises UserError for an empty list, a name that can't be asked for, and, without `merge_names`, one used twice.
    """
    if not entries:
        raise UserError(f"{source}: `categories` is empty; there is nothing to ask for")
    key = label_key if merge_names else str
    seen: dict[str, CategoryEntry] = {}
    for entry in entries:
        check_name(source, entry.id, entry.name)
        # ODinW's boggleBoards has "o" and "o ", "Q" and "q": without merging, only identical names are one.
        other = seen.setdefault(key(entry.name), entry)
        if other is not entry and not merge_names:
            raise UserError(f"{source}: categories {other.id} and {entry.id} are both named {entry.name!r}; merge them")
    return {entry.id: seen[key(entry.name)].name for entry in entries}


def differing_in_spelling(names: Collection[str]) -> list[str]:
    """Return the names, sorted, of which another one differs only in case or spaces."""
    count = Counter(label_key(name) for name in set(names))
    return sorted(name for name in set(names) if count[label_key(name)] > 1)


def check_name(source: str | Path, number: int, name: str) -> None:
    """Raise UserError for a name that no question can hold."""
    if not name.strip() or not is_one_line(name):
        raise UserError(f"{source}: category {number}: name {name!r} is empty or not of one line; fix it")
    if SPECIAL_TOKEN.search(name):
        raise UserError(f"{source}: category {number}: name {name!r} is a special token of the model; fix it")
