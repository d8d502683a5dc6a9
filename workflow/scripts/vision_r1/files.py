"""Reading and writing files: whole or not at all, as they were written, and errors that name the file."""

import codecs
import glob
import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SEAL = "seal.sha256"  # in a sealed folder; that of a file is hidden, beside it
_UNSEALED = (SEAL, "README.md")  # a model card may be edited
LOADED = {".safetensors", ".json", ".jinja", ".txt"}  # what loading a model reads, by suffix


class UserError(Exception):
    """A mistake that the user can fix: one line naming the file or option, the item and the remedy."""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below it, also below linked folders: each folder once, however it is reached.

    Left out are copies that programs put there: Jupyter's .ipynb_checkpoints, macOS's __MACOSX, and ._*, in which it
    keeps what it knows of the file of that name.
    """
    seen = set()
    for here, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(here)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if name not in (".ipynb_checkpoints", "__MACOSX")]
        yield from (Path(here) / name for name in names if not name.startswith("._"))


@contextmanager
def written_whole(path: str | Path, sealed: bool = False, shared: bool = True) -> Iterator[Path]:
    """Yield a sibling path to write a file or folder at; rename it to `path` when the block succeeds.

    A folder that a killed process left half-written beside it is removed. sealed: note the SHA-256 of the contents;
    check_seal, hash_folder and the functions that read refuse contents that changed later. shared: whoever may read a
    folder may read its files, which safetensors writes for their owner alone.

    Raises UserError where nothing can be written (check_place), a file would replace a folder, a folder a file, or what
    is sealed a folder with other files.
    """
    path = Path(path)
    if not path.name:  # the current folder, or the root
        raise UserError(f"{path}: is a folder, which can't be replaced; give another name")
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if sealed:
        check_replaceable(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if left.is_dir():
            shutil.rmtree(left)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming_full_disk(path):
            yield partial
            _put_in_place(partial, path, sealed, shared)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def _put_in_place(partial: Path, path: Path, sealed: bool, shared: bool) -> None:
    if partial.is_dir():
        if shared:
            _share(partial)
        if sealed:
            seal_folder(partial)
    if path.is_dir():
        if not partial.is_dir():
            raise UserError(f"{path}: is a folder, which a file does not replace; give another name")
        shutil.rmtree(path)
    elif path.is_file() and partial.is_dir():
        raise UserError(f"{path}: is a file, which a folder does not replace; give another name")
    # The old seal goes first, the new one comes last: a process killed in between leaves no seal, and never a wrong
    # one.
    _seal_of(path).unlink(missing_ok=True)
    os.replace(partial, path)
    if sealed and path.is_file():
        _write_seal(_seal_of(path), hash_files(path.parent, [path.name]))


def check_place(path: str | Path) -> None:
    """Raise UserError where `path` is a device or a pipe, which a file would replace, or lies below a file."""
    path = Path(path)
    folder = os.path.realpath(path.parent)  # /dev/stdout is a file where it is redirected to one
    if folder == "/dev" or folder.startswith("/proc/") or path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path}: a device or a pipe, which would be replaced; give the name of a file")
    if wrong := next((above for above in path.parents if above.exists() and not above.is_dir()), None):
        raise UserError(f"{path}: can't be written, as {wrong} is not a folder; give another name")


def check_replaceable(folder: Path, *marks: Path) -> None:
    """Raise UserError for a folder with files that is none of ours, so would be lost with all of them.

    Ours has a seal, or one of `marks` exists. Snakemake marks its own, whose job may have been killed.
    """
    marks += (folder / SEAL, folder / ".snakemake_timestamp")
    if folder.is_dir() and any(folder.iterdir()) and not any(mark.exists() for mark in marks):
        raise UserError(f"{folder}: holds other files, which would be lost; remove it, or give another name")


def is_one_line(text: str) -> bool:
    """Tell whether a text is one line that can be written: no line break, NUL or lone surrogate."""
    return text.splitlines() == [text] and not any(each == "\0" or "\ud800" <= each <= "\udfff" for each in text)


@contextmanager
def naming_full_disk(path: str | Path) -> Iterator[None]:
    """Raise UserError for `path` where an error says, in any library's words, that the disk or a quota is full."""
    full = ("No space left on device", "Disk quota exceeded", "disk is full", "inline_container.cc")  # the last: torch
    try:
        yield
    except Exception as error:
        if not any(words in str(error) for words in full):
            raise
        folder = next(folder for folder in Path(path).absolute().parents if folder.is_dir())
        free = shutil.disk_usage(folder).free / 2**20
        raise UserError(
            f"{path}: no space left on its disk ({free:,.0f} MB are free); make room and run the command again"
        ) from None


def check_room(folder: Path, size: int) -> None:
    """Raise UserError unless the disk of `folder` has room for `size` more bytes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(f"{folder}: {size / 1e9:.2f} GB more are needed here, {free / 1e9:.2f} GB are free; make room")


def seal_folder(folder: str | Path) -> None:
    """Write a seal into a folder: the SHA-256 of each of its files."""
    _write_seal(Path(folder) / SEAL, hash_files(folder, _sealed_names(Path(folder))))


def hash_folder(folder: str | Path, names: Collection[str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder by name; if `names` are given, only of those that exist.

    Raises UserError where the folder is sealed and one of them is not as it was written.
    """
    folder = Path(folder)
    noted = read_seal(folder / SEAL)
    present = [name for name in _sealed_names(folder) if names is None or name in names]
    if noted:  # a file that somebody added, such as a picture, is not part of the model
        present = [name for name in present if name in noted or Path(name).suffix in LOADED]
    found = hash_files(folder, present)
    for name in sorted(noted.keys() | found.keys()) if noted else ():
        if names is None or name in names:
            _compare(folder / name, folder / SEAL, noted.get(name), found.get(name))
    return found


def read_seal(seal: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a seal names; {} where there is no seal."""
    try:
        lines = seal.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: value for value, _, name in (line.partition("  ") for line in lines)}


def check_seal(file: str | Path) -> None:
    """Raise UserError where a file is sealed and not as it was written."""
    file = Path(file)
    noted = read_seal(_seal_of(file)).get(file.name)
    if noted and file.is_file():
        _compare(file, _seal_of(file), noted, hash_files(file.parent, [file.name])[file.name])


def write_text(path: str | Path, text: str, sealed: bool = False) -> None:
    """Write UTF-8 text to `path`, whole or not at all."""
    with written_whole(path, sealed) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, sealed: bool = False) -> None:
    """Write `value` as indented JSON, whole or not at all. Raises ValueError on NaN or infinity."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", sealed)


def write_jsonl(path: str | Path, rows: Iterable[Any], sealed: bool = False) -> None:
    """Write one JSON value per line, whole or not at all. Raises ValueError on NaN or infinity."""
    with written_whole(path, sealed) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def sync(path: str | Path) -> None:
    """Sync a file, or a folder with all below it, to disk, so that a power cut can't undo it."""
    path = Path(path)
    for file in filter(Path.is_file, (path, *path.rglob("*"))):
        _sync(file)
    # A file's name is part of its folder. Some network file systems can't sync folders; their server keeps the names.
    for folder in filter(Path.is_dir, (path, *path.rglob("*"), path.parent)):
        with suppress(OSError):
            _sync(folder)


def file_hash(path: str | Path, kind: str = "sha256") -> str:
    """Return a file's checksum of a kind that hashlib knows, as hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def hash_files(folder: str | Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of some files of a folder, by name."""
    with ThreadPoolExecutor() as pool:  # hashing and reading release the interpreter's lock
        return dict(zip(names, pool.map(lambda name: file_hash(Path(folder) / name), names), strict=True))


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Hard-link a file; copy it where that can't be done (another disk)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def read_text(path: str | Path) -> str:
    """Read UTF-8 text, also as gzip and with a byte order mark.

    Raises UserError where it can't be read, or is sealed and not as it was written.
    """
    check_seal(path)
    try:
        return plain(Path(path).read_bytes()).decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    except ValueError as error:
        raise UserError(f"{path}: can't be read ({error})") from None


def read_json(path: str | Path, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read a JSON file, its objects by `json.loads`' hook. Raises UserError when it can't be read or is not JSON."""
    try:
        return json.loads(read_text(path), object_pairs_hook=object_pairs_hook)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); is the file cut off?") from None


def read_jsonl(path: str | Path) -> list[Any]:
    """Read one JSON value per line. Raises UserError naming the file and the line."""
    rows = []
    # Not str.splitlines: it also cuts at U+2028 and others, which JSON strings may contain.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: line {number}: not valid JSON ({error})") from None
    return rows


def _share(folder: Path) -> None:
    """Let whoever may read a folder read those of its files that their owner alone may read."""
    ordinary = folder.stat().st_mode & 0o666
    for file in filter(Path.is_file, folder.rglob("*")):
        if not file.is_symlink() and not file.stat().st_mode & 0o077:
            file.chmod(ordinary)


def _seal_of(path: Path) -> Path:
    return path.parent / f".{path.name}.sha256"


def _sealed_names(folder: Path) -> list[str]:
    # Hidden files are Snakemake's: it puts one into every folder that is an output.
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return [path.name for path in files if path.name not in _UNSEALED]


def _write_seal(seal: Path, hashes: dict[str, str]) -> None:
    """Write hashes in the format of sha256sum, which can check them, too."""
    seal.write_text("".join(f"{value}  {name}\n" for name, value in hashes.items()), encoding="utf-8")
    sync(seal)


def _compare(path: Path, seal: Path, noted: str | None, found: str | None) -> None:
    if noted != found:
        whole = seal.parent if seal.name == SEAL else path
        raise UserError(
            f"{path}: damaged or edited since it was written; restore it, or, if a run made it, delete {whole} and run "
            f"again; delete {seal} if the change is intended"
        )


def plain(content: Any) -> Any:
    """Return a file's content (bytes or mmap) unpacked where it is gzip, and without a byte order mark.

    Raises ValueError where the gzip data are damaged.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"damaged gzip data: {error}") from None
    return content[3:] if content[:3] == codecs.BOM_UTF8 else content


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
