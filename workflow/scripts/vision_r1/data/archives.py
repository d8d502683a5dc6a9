"""Unpacking of foreign archives, zip and tar: nothing is written outside of the folder, nor more than is allowed."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from PIL import Image

from vision_r1.data.download import check_room, file_hash
from vision_r1.data.images import MAX_PIXELS
from vision_r1.files import UserError
from vision_r1.progress import Progress


@dataclass(frozen=True)
class Member:
    """One file of an archive: its name, unpacked size in bytes, the reason not to unpack it, and its handle."""

    name: str
    size: int
    fault: str | None
    handle: zipfile.ZipInfo | tarfile.TarInfo


def unpack(archive: Path, output: Path, max_bytes: int, max_files: int) -> dict[str, Any]:
    """Unpack an archive as folder `output`, whole or not at all, and return its manifest.

    {archive, bytes, sha256, files, unpacked_bytes, images}. Raises UserError for a damaged archive, one with an unsafe
    member (a path that leads outside, a link, a device, an encrypted file), one over the limits, and one with an
    image of more than MAX_PIXELS.
    """
    partial = output.with_name(output.name + ".part")
    try:
        with _opened(archive) as (members, read):
            for member in members:
                if member.fault:
                    raise UserError(f"{archive}: {member.name!r} {member.fault}; not unpacked")
            total = sum(member.size for member in members)
            if len(members) > max_files or total > max_bytes:
                raise UserError(
                    f"{archive}: {len(members)} files of {total} bytes in all, more than --max_files {max_files} or "
                    f"--max_bytes {max_bytes}; raise the limit if that is right"
                )
            shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
            partial.mkdir(parents=True)
            check_room(output.parent, total)
            images = _extract(archive, members, read, partial)
        shutil.rmtree(output, ignore_errors=True)
        partial.replace(output)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{archive}: damaged ({error}); delete it and download it again") from None
    except OSError as error:
        raise UserError(f"{archive}: can't be unpacked: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {
        "archive": archive.name,
        "bytes": archive.stat().st_size,
        "sha256": file_hash(archive, "sha256"),
        "files": len(members),
        "unpacked_bytes": total,
        "images": images,
    }


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[list[Member], Any]]:
    """Yield an archive's files and a function that opens one of them for reading."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            found = [entry for entry in zipped.infolist() if not (entry.is_dir() and _outside(entry.filename) is None)]
            yield [Member(entry.filename, entry.file_size, _zip_fault(entry), entry) for entry in found], zipped.open
    else:
        with tarfile.open(archive) as tarred:
            found = [entry for entry in tarred.getmembers() if not entry.isdir()]
            yield [Member(entry.name, entry.size, _tar_fault(entry), entry) for entry in found], tarred.extractfile


def _extract(archive: Path, members: list[Member], read: Any, folder: Path) -> int:
    """Write the files into the folder and return how many of them are images."""
    images = done = 0
    progress = Progress(sum(member.size for member in members) // 10**6, "MB")
    for member in members:
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        source: IO[bytes]
        with read(member.handle) as source, target.open("xb") as file:
            shutil.copyfileobj(source, file)  # ends at the declared size, and raises where the content has another
        pixels = _pixels(target)
        images += pixels is not None
        if pixels and pixels > MAX_PIXELS:
            raise UserError(f"{archive}: {member.name!r} has {pixels} pixels, more than {MAX_PIXELS}; not unpacked")
        done += member.size
        progress.update(done // 10**6)
    return images


def _pixels(path: Path) -> int | None:
    """Return the number of pixels that an image's header declares; None for a file that is no image."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"):
        return None
    try:
        with Image.open(path) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return 2 * MAX_PIXELS
    except (OSError, SyntaxError, ValueError):
        return 0  # damaged: counted and reported when images are read


def _outside(name: str) -> str | None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        return "leads outside of the folder"
    return None


def _zip_fault(entry: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    return _outside(entry.filename) or ("is encrypted" if entry.flag_bits & 1 else None)


def _tar_fault(entry: tarfile.TarInfo) -> str | None:
    return _outside(entry.name) or (None if entry.isreg() else "is a link or a device")
