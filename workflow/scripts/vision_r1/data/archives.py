"""Unpacking of foreign archives, zip and tar: nothing is written outside of the folder, nor more than is allowed."""

import hashlib
import logging
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from PIL import Image

from vision_r1.data.images import FORMATS, MAX_PIXELS, image_suffixes
from vision_r1.data.kinds import HEAD, archive_kind
from vision_r1.exclusive import lock_of, one_at_a_time
from vision_r1.files import UserError, check_replaceable, check_room, file_hash, hash_files
from vision_r1.progress import Progress
from vision_r1.text import one_line

log = logging.getLogger(__name__)

MAX_HEADER = 1 << 20  # bytes of a long name or of attributes
# tarfile reads the content of these headers into the memory.
_READ_AT_ONCE = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
UTF8_NAME = 0x800  # flag of a zip's member


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its name with forward slashes (a folder's ends in one) and its unpacked size in bytes.

    fault: the reason not to unpack it; guessed: the archive doesn't say in which code page the name is written.
    """

    name: str
    size: int
    fault: str | None
    guessed: bool
    handle: zipfile.ZipInfo | tarfile.TarInfo


def unpack(
    archive: Path, output: Path, max_bytes: int, max_files: int, content_sha256: str | None = None
) -> dict[str, Any]:
    """Unpack an archive as folder `output`, whole or not at all, and return its manifest.

    {archive, bytes, sha256, files, unpacked_bytes, images}. Its first bytes tell zip from tar. What macOS adds
    (__MACOSX, ._name) is left out. Raises UserError for a damaged archive, one with an unsafe member (a path that leads
    outside, a link, a device, an encrypted file), one over the limits, one with an image of more than MAX_PIXELS, and
    one whose files have another hash (content_hash) than `content_sha256`; and for a folder that holds other files.
    Safe for several processes at once: one unpacks after the other.
    """
    try:
        with _opened(archive) as (entries, read):
            members = _accepted(archive, entries, max_bytes, max_files)
            images = _write(archive, members, read, output, content_sha256)
    except UserError:
        raise
    except OSError as error:
        if error.errno is None:  # of bzip2's and gzip's decoders, not of the disk
            raise UserError(_damaged(archive, error)) from None
        raise UserError(f"{archive}: can't be unpacked: {error}") from None
    except Exception as error:  # readers raise whatever they stumble over: zlib.error, LZMAError, UnicodeError, ...
        raise UserError(_damaged(archive, error)) from None
    return {
        "archive": archive.name,
        "bytes": archive.stat().st_size,
        "sha256": file_hash(archive),
        "files": len(members),
        "unpacked_bytes": sum(member.size for member in members),
        "images": images,
    }


def content_hash(folder: Path) -> str:
    """Return one SHA-256 of all files below a folder: of the lines `<SHA-256>  <path>`, sorted by path, as sha256sum
    prints them. It stays the same where a server packs the same files again, as GitHub does for a commit."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = (f"{value}  {name}\n" for name, value in hash_files(folder, names).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _damaged(archive: Path, error: Exception) -> str:
    return f"{archive}: damaged ({one_line(error)}); delete it and download it again"


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[Iterable[Member], Any]]:
    """Yield an archive's files, as they are found, and a function that opens one of them for reading."""
    with archive.open("rb") as file:
        head = file.read(HEAD)
    kind = archive_kind(head)
    if kind is None:
        raise UserError(f"{archive}: neither zip nor tar, it begins with {head[:40]!r}; download it again")
    if kind == "zip":
        with zipfile.ZipFile(archive) as zipped:
            yield map(_zip_member, zipped.infolist()), zipped.open
    else:
        with tarfile.open(archive, tarinfo=_TarInfo) as tarred:
            yield _tar_members(tarred), tarred.extractfile


def _accepted(archive: Path, entries: Iterable[Member], max_bytes: int, max_files: int) -> list[Member]:
    """Return the files to unpack. Raises UserError at the first that must not be, or is one too many."""
    members: list[Member] = []
    total = left_out = 0
    for member in entries:
        if member.name == "./":  # the folder itself, as `tar czf x.tgz .` has it
            continue
        if member.fault:
            raise UserError(f"{archive}: {member.name!r} {member.fault}; not unpacked")
        if member.name.endswith("/"):
            continue
        path = PurePosixPath(member.name)
        if "__MACOSX" in path.parts or path.name.startswith("._"):
            left_out += 1
            continue
        members.append(member)
        total += member.size
        if len(members) > max_files or total > max_bytes:
            raise UserError(
                f"{archive}: at least {len(members)} files of {total} bytes in all, more than --max_files {max_files} "
                f"or --max_bytes {max_bytes}; raise the limit if that is right"
            )
    if left_out:
        log.info("%s: left out %d files of macOS", archive, left_out)
    if guessed := [member.name for member in members if member.guessed]:
        log.warning("%s: the code page of %d names is unknown; the first is %r", archive, len(guessed), guessed[0])
    return members


def _write(archive: Path, members: list[Member], read: Any, output: Path, content_sha256: str | None) -> int:
    """Write the files as folder `output`, and return how many are images."""
    check_replaceable(output, lock_of(output))  # the lock file stays, and tells that the folder is one of ours
    partial = output.with_name(output.name + ".part")
    with one_at_a_time(output):
        try:
            shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
            partial.mkdir()
            check_room(output.parent, sum(member.size for member in members))
            images = _extract(archive, members, read, partial)
            if content_sha256 and (found := content_hash(partial)) != content_sha256:
                raise UserError(
                    f"{archive}: its files have the hash {found}, not {content_sha256} as in the register; delete it "
                    "and download it again"
                )
            shutil.rmtree(output, ignore_errors=True)
            partial.replace(output)
            return images
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _extract(archive: Path, members: list[Member], read: Any, folder: Path) -> int:
    """Write the files into the folder and return how many of them are images."""
    images = done = 0
    progress = Progress(sum(member.size for member in members) // 10**6, "MB")
    for member in members:
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # on some disks also where only capitals differ
            raise UserError(f"{archive}: {member.name!r} is in it twice; not unpacked; pack every file once")
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
    if path.suffix.lower() not in image_suffixes():
        return None
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.width * image.height
    except Image.DecompressionBombError:
        return 2 * MAX_PIXELS
    except Exception:
        return 0  # damaged: counted and reported when images are read


def _outside(name: str) -> str | None:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "leads outside of the folder"
    return "has no name that a file can have" if "\0" in name else None


def _zip_member(entry: zipfile.ZipInfo) -> Member:
    name, guessed = entry.filename, False
    if not entry.flag_bits & UTF8_NAME and not name.isascii():
        # Python reads such names by code page 437; many programs write UTF-8 and don't say so.
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            guessed = True
    name = name.replace("\\", "/")  # Windows
    kind = stat.S_IFMT(entry.external_attr >> 16)
    fault = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device"
    fault = _outside(name) or fault or ("is encrypted" if entry.flag_bits & 1 else None)
    return Member(name, entry.file_size, fault, guessed, entry)


def _tar_members(tarred: tarfile.TarFile) -> Iterator[Member]:
    yield from map(_tar_member, tarred)
    while tarred.fileobj.read(1 << 20):  # to its end, where the compression's checksum is; tarfile stops before it
        pass


def _tar_member(entry: tarfile.TarInfo) -> Member:
    name = entry.name.replace("\\", "/") + ("/" if entry.isdir() else "")
    fault = None if entry.isreg() or entry.isdir() else "is a link or a device"
    guessed = any("\udc80" <= letter <= "\udcff" for letter in name)  # bytes that are no UTF-8
    return Member(name, entry.size, _outside(name) or fault, guessed, entry)


class _BadHeader(Exception):
    """A tar archive's bad header. Not a tarfile.TarError: tarfile takes those for another compression, or the end."""


class _TarInfo(tarfile.TarInfo):
    """A checked header: no negative size, which leads back, and no long content of its own, which fills the memory."""

    # Here tarfile lets subclasses act on every header. Python 3.14 calls neither frombuf, nor fromtarfile for the
    # second of two headers.
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in _READ_AT_ONCE and self.size > MAX_HEADER):
            raise _BadHeader(f"a header of {self.size} bytes")
        member = super()._proc_member(archive)
        if member.size < 0:  # by extended attributes
            raise _BadHeader(f"a file of {member.size} bytes")
        return member

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_TarInfo":
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            if archive.offset:
                raise _BadHeader(str(error)) from None
            raise
