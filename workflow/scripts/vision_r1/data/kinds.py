"""What a file is, told from its first bytes: its address and name may claim anything."""

import codecs
import tarfile

HEAD = 512  # bytes that tell
ARCHIVES = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
_ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")  # with members, empty, in parts
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")  # gzip, bzip2, xz: what they hold shows when it is read


def archive_kind(head: bytes) -> str | None:
    """Return zip or tar (compressed or not) from a file's first HEAD bytes, None where it is neither."""
    if head.startswith(_ZIP):
        return "zip"
    if head.startswith(_COMPRESSED):
        return "tar"
    try:
        tarfile.TarInfo.frombuf(head[:HEAD], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "tar"


def kind_fault(name: str, head: bytes) -> str | None:
    """Return why a file that begins with `head` can't be what its name says, None where it can."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    archive, json = name.lower().endswith(ARCHIVES), name.lower().endswith(".json")
    if text.startswith(b"<"):
        return f"a web page for content ({text[:60]!r})"
    if archive and archive_kind(head) is None or json and not text.startswith((b"{", b"[")):
        return f"no {'archive' if archive else 'JSON'} for content ({head[:60]!r})"
    return None
