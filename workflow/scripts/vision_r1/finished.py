"""Outputs that outlive Snakemake: when it dies alone, its job works on, and the next run deletes what it finished.

So a job keeps hard links to what it has finished in a folder that is no output, and takes it from there when it is
asked for the very same again. Links cost no space as long as the outputs are there.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from vision_r1.files import UserError, link_or_copy, read_json, sync, write_json, written_whole

MARKER = "finished.json"


def keep(folder: Path, key: str, outputs: Mapping[str, Path]) -> None:
    """Link outputs, files or folders by name, into `folder`, in the place of what was kept there.

    key: what stands for all that decides the outputs.
    """
    with written_whole(folder) as partial:
        partial.mkdir()
        for name, path in outputs.items():
            _link(path, partial / name)
        write_json(partial / MARKER, {"key": key, "bytes": _sizes(partial)})
        sync(partial)


def restore(folder: Path, key: str, outputs: Mapping[str, Path]) -> bool:
    """Put outputs that were kept under this key back in their places; tell whether they were there, and whole."""
    try:
        kept = read_json(folder / MARKER)
    except UserError:
        return False
    if kept != {"key": key, "bytes": _sizes(folder)} or not all((folder / name).exists() for name in outputs):
        return False
    for name, path in outputs.items():
        with written_whole(path) as partial:
            _link(folder / name, partial)
    return True


def _link(source: Path, target: Path) -> None:
    if source.is_dir():
        # Hidden files are Snakemake's: it puts one into every folder that is an output.
        shutil.copytree(source, target, copy_function=link_or_copy, ignore=shutil.ignore_patterns(".*"))
    else:
        link_or_copy(source, target)


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MARKER)
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}
