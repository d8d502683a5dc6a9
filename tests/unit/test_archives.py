import bz2
import gzip
import hashlib
import io
import lzma
import random
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from vision_r1.data.archives import content_hash, unpack
from vision_r1.files import UserError


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members:
            file.writestr(member, content)
    return path


def unpacked(path, output, max_bytes=1000, max_files=10):
    return unpack(path, output, max_bytes, max_files)


def test_unpacks_a_tree_and_records_it(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("set/", ""), ("set/images/1.jpg", "one"), ("set/b.json", "{}")])
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").write_text("old")
    (tmp_path / ".a.lock").touch()
    (tmp_path / "a.part").mkdir()
    manifest = unpacked(archive, tmp_path / "a")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    size = archive.stat().st_size
    assert manifest == {
        "archive": "a.zip",
        "bytes": size,
        "sha256": sha256,
        "files": 2,
        "unpacked_bytes": 5,
        "images": 1,
    }
    assert (tmp_path / "a/set/images/1.jpg").read_text() == "one"
    found = sorted(path.name for path in tmp_path.rglob("*"))
    assert found == [".a.lock", "1.jpg", "a", "a.zip", "b.json", "images", "set"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("1.jpg", "one")])
    with pytest.raises(UserError, match="holds other files, which would be lost"):
        unpacked(archive, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    for _ in range(2):
        unpacked(archive, tmp_path / "a")
    assert (tmp_path / "a/1.jpg").read_text() == "one"


def test_the_same_files_in_another_archive_have_the_same_hash(tmp_path):
    """Hashes of files, as sha256sum prints them: GitHub's archive of a commit may have other bytes tomorrow."""
    files = [("set/b.json", "{}"), ("set/images/1.jpg", "one"), ("a", "")]
    lines = [f"{hashlib.sha256(content.encode()).hexdigest()}  {name}\n" for name, content in sorted(files)]
    wanted = hashlib.sha256("".join(lines).encode()).hexdigest()
    for name, members in [("a.zip", files), ("b.zip", files[::-1])]:
        unpack(zipped(tmp_path / name, members), tmp_path / name[0], 1000, 10, wanted)
        assert content_hash(tmp_path / name[0]) == wanted
    other = zipped(tmp_path / "c.zip", [*files[:2], ("a", "x")])
    with pytest.raises(UserError, match=f"c.zip: its files have the hash .*, not {wanted}"):
        unpack(other, tmp_path / "c", 1000, 10, wanted)
    assert not (tmp_path / "c").exists()


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o120777 << 16
    return member


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("../evil", "leads outside"),
        ("set/../../evil", "leads outside"),
        ("/evil", "leads outside"),
        ("C:/evil", "leads outside"),
        ("set\\..\\evil", "leads outside"),
        (".", "leads outside"),
        (link("set/link"), "link or a device"),
    ],
)
def test_unsafe_archives_are_not_unpacked(tmp_path, member, reason):
    archive = zipped(tmp_path / "a.zip", [("fine", "x"), (member, "/etc/passwd")])
    with pytest.raises(UserError, match=reason):
        unpacked(archive, tmp_path / "inner/a")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


@pytest.mark.parametrize("limits", [{"max_bytes": 9}, {"max_files": 1}])
def test_limits(tmp_path, limits):
    archive = zipped(tmp_path / "a.zip", [("a", "12345"), ("b", "12345")])
    with pytest.raises(UserError, match="2 files of 10 bytes in all, more than"):
        unpacked(archive, tmp_path / "a", **limits)


def test_a_false_size_does_not_pass_the_limit(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("a", b"y" * 500)])
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace((500).to_bytes(4, "little"), (5).to_bytes(4, "little")))
    with pytest.raises(UserError, match="damaged"):
        unpacked(archive, tmp_path / "a", max_bytes=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.lock", "a.zip"]


def test_damaged_missing_and_clashing_files(tmp_path):
    with pytest.raises(UserError, match="none.zip: can't be unpacked: .*No such file"):
        unpacked(tmp_path / "none.zip", tmp_path / "a")
    archive = zipped(tmp_path / "a.zip", [("a", b"content")])
    archive.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged .*; delete it and download it again"):
        unpacked(archive, tmp_path / "a")
    with pytest.raises(UserError, match="b.zip: can't be unpacked"):
        unpacked(zipped(tmp_path / "b.zip", [("a", "file"), ("a/b", "below a file")]), tmp_path / "b")
    twice = tarred(tmp_path / "c.tar.gz", [("x/a", b"old"), ("x/a", b"appended")])
    with pytest.raises(UserError, match="c.tar.gz: 'x/a' is in it twice; not unpacked; pack every file once"):
        unpacked(twice, tmp_path / "c")


def tarred(path, members):
    with tarfile.open(path, "w:gz") as file:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content) if member.isreg() else 0
            file.addfile(member, io.BytesIO(content))
    return path


def test_a_tar_of_a_folder_itself_is_unpacked(tmp_path):
    """Members are named as by `tar czf x.tgz .`: ./, ./a.txt."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set/a.txt").write_text("one")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as file:
        file.add(tmp_path / "set", arcname=".")
    unpacked(tmp_path / "a.tgz", tmp_path / "inner")
    assert [path.name for path in (tmp_path / "inner").rglob("*")] == ["a.txt"]


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_unpacks_tar(tmp_path):
    members = [(special("set", tarfile.DIRTYPE), b""), ("set/a.json", b"{}"), ("set/b/c.txt", b"text")]
    manifest = unpacked(tarred(tmp_path / "a.tar.gz", members), tmp_path / "a")
    assert (manifest["files"], manifest["unpacked_bytes"]) == (2, 6)
    assert (tmp_path / "a/set/b/c.txt").read_text() == "text"


@pytest.mark.parametrize(
    "member",
    [
        "../evil",
        "/evil",
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "/etc/passwd"),
        special("device", tarfile.CHRTYPE),
        special("pipe", tarfile.FIFOTYPE),
    ],
)
def test_unsafe_tar_archives_are_not_unpacked(tmp_path, member):
    archive = tarred(tmp_path / "a.tar.gz", [("fine", b"x"), (member, b"evil")])
    with pytest.raises(UserError, match="leads outside|link or a device"):
        unpacked(archive, tmp_path / "inner/a")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar.gz"]


def test_the_checksum_of_a_compressed_tar_is_checked(tmp_path):
    archive = tarred(tmp_path / "a.tar.gz", [("a.jpg", random.Random(0).randbytes(3000))])
    content = bytearray(archive.read_bytes())
    for place, message in ((1500, "CRC"), (None, "ended before the end")):
        damaged = content[:-8]
        if place:
            damaged = content.copy()
            damaged[place] ^= 1
        archive.write_bytes(damaged)
        with pytest.raises(UserError, match=f"damaged .*{message}.*; delete it and download it again"):
            unpacked(archive, tmp_path / "a", max_bytes=10**6)


def test_a_truncated_tar_is_damaged(tmp_path):
    archive = tarred(tmp_path / "a.tar.gz", [("a", b"content" * 999), ("b", bytes(range(256)) * 40)])
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged .*; delete it and download it again"):
        unpacked(archive, tmp_path / "a", max_bytes=10**6)
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="neither zip nor tar, it begins with b'no archive'"):
        unpacked(tmp_path / "b.tar.gz", tmp_path / "b")


@pytest.mark.parametrize("kind", ["png", "gif", "avif"])
def test_images_are_counted_and_giant_ones_refused(tmp_path, monkeypatch, kind):
    content = io.BytesIO()
    Image.new("RGB", (60, 40)).save(content, kind)
    members = [(f"a.{kind}", content.getvalue()), ("damaged.jpg", b"no image"), ("b.txt", b"text")]
    archive = zipped(tmp_path / "a.zip", members)
    assert unpacked(archive, tmp_path / "a")["images"] == 2
    monkeypatch.setattr("vision_r1.data.archives.MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(UserError, match=f"'a.{kind}' has 2400 pixels, more than 2399; not unpacked"):
        unpacked(archive, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def forged_tar(path, size=None, kind=tarfile.REGTYPE, behind=b""):
    """Write a gzipped tar whose last header has `size` in base 256, which tarfile itself would not write."""
    member = tarfile.TarInfo("a")
    member.type = kind
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(gzip.compress(bytes(header) + behind + b"\0" * 1024))
    return path


@pytest.mark.parametrize("size", [-1024, -512, -1])
def test_a_negative_size_in_a_tar_header_is_refused(tmp_path, size):
    with pytest.raises(UserError, match=f"a.tar.gz: damaged .a header of {size} bytes"):
        unpacked(forged_tar(tmp_path / "a.tar.gz", size), tmp_path / "a")


def test_a_negative_size_in_extended_attributes_is_refused(tmp_path):
    path = tmp_path / "a.tar.gz"
    member = tarfile.TarInfo("ok")
    member.pax_headers = {"size": "-1024"}
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as file:
        file.addfile(member)
    with pytest.raises(UserError, match=r"a.tar.gz: damaged \((a file of -1024 bytes|invalid offset)"):
        unpacked(path, tmp_path / "a")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_giant_header_is_not_read(tmp_path, kind):
    archive = forged_tar(tmp_path / "a.tar.gz", 6 * 2**30, kind, behind=b"\0" * 99_999)
    with pytest.raises(UserError, match="damaged .a header of 6442450944 bytes"):
        unpacked(archive, tmp_path / "a")


def test_a_long_name_is_read_whole(tmp_path):
    name = "d" * 90 + "/" + "é" * 100 + ".json"
    unpacked(tarred(tmp_path / "a.tar", [(name, b"{}")]), tmp_path / "a")
    assert (tmp_path / "a" / name).read_text() == "{}"


def test_a_tar_that_is_damaged_in_its_middle_does_not_lose_files_silently(tmp_path):
    """Python's tarfile takes an invalid header for the end of the archive."""
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for name in "abc":
            file.addfile(special(name, tarfile.REGTYPE))
    content = bytearray(path.read_bytes())
    content[512:600] = b"x" * 88
    path.write_bytes(content)
    with pytest.raises(UserError, match="a.tar: damaged .bad checksum"):
        unpacked(path, tmp_path / "a")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_broken_compression_is_reported_in_one_line(tmp_path, method):
    path = tmp_path / "a.zip"
    content = random.Random(0).randbytes(500)
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a", content)
    whole = bytearray(path.read_bytes())
    for place in (43, 50, 60, 200):
        whole[place] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"a.zip: damaged \(.+\); delete it and download it again$"):
        unpacked(path, tmp_path / "a")
    for compress in (bz2.compress, lzma.compress, gzip.compress):
        (tmp_path / "b.tar").write_bytes(compress(random.Random(0).randbytes(9999))[:-2000])
        with pytest.raises(UserError, match=r"b.tar: damaged \(.+\); delete it and download it again$"):
            unpacked(tmp_path / "b.tar", tmp_path / "b")


def test_impossible_file_names_are_refused(tmp_path):
    path = tmp_path / "a.tar.gz"
    member = tarfile.TarInfo("ok")
    member.pax_headers = {"path": "a\0b"}
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as file:
        file.addfile(member)
    with pytest.raises(UserError, match="'a.x00b' has no name that a file can have; not unpacked"):
        unpacked(path, tmp_path / "a")
    flagged = zipped(tmp_path / "b.zip", [("é", b"x")]).read_bytes().replace("é".encode(), b"\xff\xff")
    (tmp_path / "b.zip").write_bytes(flagged)
    with pytest.raises(UserError, match="b.zip: damaged .*can't decode"):
        unpacked(tmp_path / "b.zip", tmp_path / "b")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a"])
def test_the_type_of_an_archive_is_read_from_its_content(tmp_path, name):
    zipped(tmp_path / name, [("x", b"zip")])
    unpacked(tmp_path / name, tmp_path / "out")
    assert (tmp_path / "out/x").read_text() == "zip"
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        with tarfile.open(tmp_path / name, mode) as file:
            member = tarfile.TarInfo("x")
            member.size = 3
            file.addfile(member, io.BytesIO(b"tar"))
        unpacked(tmp_path / name, tmp_path / "out")
        assert (tmp_path / "out/x").read_text() == "tar"
    (tmp_path / name).write_bytes(b"<html>")
    with pytest.raises(UserError, match=f"{name}: neither zip nor tar, it begins with b'<html>'"):
        unpacked(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("make", [zipped, lambda path, members: tarred(path, [m for m in members if m[0][-1] != "\\"])])
def test_names_as_windows_and_macos_write_them(tmp_path, make):
    members = [("set\\", b""), ("set\\1.jpg", b"1"), ("__MACOSX/set/._1.jpg", b"2"), ("set/._1.jpg", b"3")]
    manifest = unpacked(make(tmp_path / "a", members), tmp_path / "out")
    assert [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")] == ["set", "set/1.jpg"]
    assert (manifest["files"], manifest["unpacked_bytes"]) == (1, 1)


def test_names_of_other_code_pages(tmp_path, caplog):
    """A flag marks a zip's names as UTF-8; without it they are often UTF-8 nevertheless, or any code page."""
    right = zipped(tmp_path / "a.zip", [("größe.jpg", b"x")])
    unpacked(right, tmp_path / "a")
    silent = bytearray(right.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = silent.index(mark) + place
        silent[start : start + 2] = b"\0\0"
    (tmp_path / "b.zip").write_bytes(silent)
    unpacked(tmp_path / "b.zip", tmp_path / "b")
    assert [path.name for name in "ab" for path in (tmp_path / name).iterdir()] == ["größe.jpg"] * 2
    assert not caplog.records
    (tmp_path / "c.zip").write_bytes(silent.replace("öß".encode(), b"\x93\xfa\x96\x7b"))
    unpacked(tmp_path / "c.zip", tmp_path / "c")
    assert len(list((tmp_path / "c").iterdir())) == 1
    assert "c.zip: the code page of 1 names is unknown; the first is 'gr" in caplog.text


def test_two_simultaneous_unpackings_lose_nothing(tmp_path):
    archive = zipped(tmp_path / "a.zip", [(f"set/{number}", b"x") for number in range(300)])
    with ThreadPoolExecutor(4) as pool:
        manifests = list(pool.map(lambda _: unpacked(archive, tmp_path / "a", max_files=300), range(4)))
    assert len(list((tmp_path / "a/set").iterdir())) == 300
    assert [manifest["files"] for manifest in manifests] == [300] * 4
