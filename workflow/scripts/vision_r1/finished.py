"""Outputs that outlive Snakemake. If only Snakemake is killed, its jobs run on, and the next run deletes their outputs.

So a job also keeps its finished outputs in a folder that Snakemake doesn't know, and restores them when the very same
job runs again: large files as hard links, which cost no space while the outputs exist, small ones as copies.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from vision_r1.files import UserError, hash_files, link_or_copy, read_json, sync, write_json, written_whole

MARKER = "finished.json"
SMALL = 2**20  # bytes; smaller files may be edited in place, which would change a hard link, too


def place(state: Path) -> Path:
    """Return where a training keeps its outputs: in the folder of what it resumes from."""
    return state / "finished"


def beside(output: Path) -> Path:
    """Return where a program that has no state folder keeps its one output."""
    return output.with_suffix(".finished")


def keep(folder: Path, key: str, outputs: Mapping[str, Path], seconds: float | None = None) -> None:
    """Put outputs, files or folders by name, into `folder`, replacing what was kept there.

    key: a text that changes whenever anything that decides the outputs does; seconds: what making them took.
    """
    with written_whole(folder) as partial:
        partial.mkdir()
        for name, path in outputs.items():
            _copy(path, partial / name)
        write_json(partial / MARKER, {"key": key, "seconds": seconds, "sha256": _hashes(partial)})
        sync(partial)


def is_kept(folder: Path, key: str) -> bool:
    """Tell whether outputs are kept under this key, and unchanged."""
    try:
        kept = read_json(folder / MARKER)
    except UserError:
        return False
    return kept.get("key") == key and kept.get("sha256") == _hashes(folder)


def restore(folder: Path, key: str, outputs: Mapping[str, Path]) -> bool:
    """Put outputs that were kept under this key back in their places; tell whether they were there, and unchanged."""
    if not is_kept(folder, key) or not all((folder / name).exists() for name in outputs):
        return False
    for name, path in outputs.items():
        with written_whole(path, sealed=(folder / name).is_file()) as partial:  # a folder brings its seal along
            _copy(folder / name, partial)
    return True


def forget(outputs: Iterable[str]) -> None:
    """Delete what was kept of a job with these outputs, so that it does its work again."""
    for path in map(Path, outputs):
        for folder in (beside(path), place(path.parent / "state")):
            shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        # Hidden files are Snakemake's: it puts one into every folder that is an output.
        shutil.copytree(source, target, copy_function=_copy_file, ignore=shutil.ignore_patterns(".*"))
    else:
        _copy_file(source, target)


def _copy_file(source: str | Path, target: str | Path) -> None:
    (link_or_copy if Path(source).stat().st_size > SMALL else shutil.copy2)(source, target)


def _hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MARKER)
    return hash_files(folder, [str(path.relative_to(folder)) for path in files])
