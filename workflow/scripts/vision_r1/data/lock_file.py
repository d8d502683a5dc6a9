"""The lock file: what was downloaded first, where nobody published a checksum, is what must be downloaded later.

One JSON file for all runs, {section: {name: facts}}; commit it, and colleagues get the same bytes or an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vision_r1.exclusive import one_at_a_time
from vision_r1.files import UserError, read_json, write_json


def locked(lock: Path, section: str, name: str) -> dict[str, Any]:
    """Return what the lock file holds of `name`, {} where it is new. Raises UserError for a file of another kind."""
    content = _read(lock)
    return dict(content.get(section, {}).get(name, {}))


def record(lock: Path, section: str, name: str, facts: Mapping[str, Any]) -> None:
    """Compare facts with the lock file, and add them where they are new.

    Raises UserError, naming both, for a fact that differs. Safe for several processes at once.
    """
    with one_at_a_time(lock):
        content = _read(lock)
        known = content.setdefault(section, {}).setdefault(name, {})
        for key, value in facts.items():
            if known.get(key, value) != value:
                raise UserError(
                    f"{lock}: {section}.{name}.{key} is {known[key]!r}, but the download now has {value!r}; if the "
                    "source has changed for good, and you want the new one, remove the entry"
                )
        if facts.items() <= known.items():
            return
        known.update(facts)
        write_json(lock, {group: dict(sorted(entries.items())) for group, entries in sorted(content.items())})


def _read(lock: Path) -> dict[str, Any]:
    content = read_json(lock) if lock.exists() else {}
    if not isinstance(content, dict) or not all(isinstance(entries, dict) for entries in content.values()):
        raise UserError(f"{lock}: not a lock file; restore it from git, or remove it to lock again")
    return content
