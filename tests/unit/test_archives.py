import hashlib
import io
import tarfile
import zipfile

import pytest
from PIL import Image

from vision_r1.data.archives import unpack
from vision_r1.files import UserError


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for member, content in members:
            file.writestr(member, content)
    return path


def unpacked(path, output, max_bytes=1000, max_files=10):
    return unpack(path, output, max_bytes, max_files)


def test_unpacks_a_tree_and_says_what_it_was(tmp_path):
    archive = zipped(tmp_path / "a.zip", [("set/", ""), ("set/images/1.jpg", "one"), ("set/b.json", "{}")])
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").write_text("old")
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
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.jpg", "a", "a.zip", "b.json", "images", "set"]


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
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_damaged_missing_and_clashing(tmp_path):
    with pytest.raises(UserError, match="none.zip: can't be unpacked: .*No such file"):
        unpacked(tmp_path / "none.zip", tmp_path / "a")
    archive = zipped(tmp_path / "a.zip", [("a", b"content")])
    archive.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged .*; delete it and download it again"):
        unpacked(archive, tmp_path / "a")
    with pytest.raises(UserError, match="b.zip: can't be unpacked"):
        unpacked(zipped(tmp_path / "b.zip", [("a", "file"), ("a/b", "below a file")]), tmp_path / "b")


def tarred(path, members):
    with tarfile.open(path, "w:gz") as file:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
            member.size = len(content) if member.isreg() else 0
            file.addfile(member, io.BytesIO(content))
    return path


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


def test_a_cut_tar_is_damaged(tmp_path):
    archive = tarred(tmp_path / "a.tar.gz", [("a", b"content" * 999), ("b", bytes(range(256)) * 40)])
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged .*; delete it and download it again"):
        unpacked(archive, tmp_path / "a", max_bytes=10**6)
    (tmp_path / "b.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="damaged"):
        unpacked(tmp_path / "b.tar.gz", tmp_path / "b")


def test_images_are_counted_and_giant_ones_refused(tmp_path, monkeypatch):
    content = io.BytesIO()
    Image.new("RGB", (60, 40)).save(content, "PNG")
    members = [("a.png", content.getvalue()), ("damaged.jpg", b"no image"), ("b.txt", b"text")]
    archive = zipped(tmp_path / "a.zip", members)
    assert unpacked(archive, tmp_path / "a")["images"] == 2
    monkeypatch.setattr("vision_r1.data.archives.MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(UserError, match="'a.png' has 2400 pixels, more than 2399; not unpacked"):
        unpacked(archive, tmp_path / "b")
    assert not (tmp_path / "b").exists()
