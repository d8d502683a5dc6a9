"""Unpacking of foreign zip archives: nothing is written outside of the folder, nor more than is allowed."""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from vision_r1.data.download import check_room, file_hash
from vision_r1.files import UserError


def unpack(archive: Path, output: Path, max_bytes: int, max_files: int) -> dict[str, Any]:
    """Unpack an archive as folder `output`, whole or not at all, and return its manifest.

    {archive, bytes, sha256, files, unpacked_bytes}. Raises UserError for a damaged archive, one with an unsafe
    member (a path that leads outside, a link, a device, an encrypted file), and one over the limits.
    """
    partial = output.with_name(output.name + ".part")
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                if fault := unsafe(member):
                    raise UserError(f"{archive}: {member.filename!r} {fault}; not unpacked")
            files = [member for member in members if not member.is_dir()]
            total = sum(member.file_size for member in files)
            if len(files) > max_files or total > max_bytes:
                raise UserError(
                    f"{archive}: {len(files)} files of {total} bytes in all, more than --max_files {max_files} or "
                    f"--max_bytes {max_bytes}; raise the limit if that is right"
                )
            shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
            partial.mkdir(parents=True)
            check_room(output.parent, total)
            _extract(zipped, files, total, partial)
        shutil.rmtree(output, ignore_errors=True)
        partial.replace(output)
    except OSError as error:
        raise UserError(f"{archive}: can't be unpacked: {error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{archive}: damaged ({error}); delete it and download it again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {
        "archive": archive.name,
        "bytes": archive.stat().st_size,
        "sha256": file_hash(archive, "sha256"),
        "files": len(files),
        "unpacked_bytes": total,
    }


def _extract(zipped: zipfile.ZipFile, files: list[zipfile.ZipInfo], total: int, folder: Path) -> None:
    with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, mininterval=5) as progress:
        for member in files:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with zipped.open(member) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file)  # ends at the declared size, and raises where the content has another
            progress.update(member.file_size)


def unsafe(member: zipfile.ZipInfo) -> str | None:
    """Return why a member must not be unpacked, or None."""
    path = PurePosixPath(member.filename)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in path.parts[0]:
        return "leads outside of the folder"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 1:
        return "is encrypted"
    return None
