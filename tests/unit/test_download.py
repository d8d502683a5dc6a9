import hashlib
import zipfile
from collections import namedtuple

import pytest
from file_server import Behaviour, serving

from vision_r1.data import download as module
from vision_r1.data.archives import unpack
from vision_r1.data.download import Expected, download
from vision_r1.files import UserError

CONTENT = bytes(range(256)) * 40
RIGHT = Expected(len(CONTENT), hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest())
UNKNOWN = Expected()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "downloads/file.zip"


def fetch(urls, output, expected=RIGHT):
    download(urls, output, expected, longest_wait=0)
    assert output.read_bytes() == CONTENT
    assert [path.name for path in output.parent.iterdir()] == ["file.zip"]


@pytest.mark.parametrize("expected", [RIGHT, UNKNOWN, Expected(md5=RIGHT.md5.upper())])
def test_downloads_and_verifies(output, expected):
    with serving(Behaviour(CONTENT)) as url:
        fetch([url], output, expected)


def test_goes_on_where_the_connection_broke(output):
    behaviour = Behaviour(CONTENT, breaks=[3000, 2000])
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == [None, "bytes=3000-", "bytes=5000-"]


def test_a_later_call_goes_on_too(output, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    behaviour = Behaviour(CONTENT, breaks=[3000])
    with serving(behaviour) as url:
        with pytest.raises(UserError, match="put the file there yourself"):
            fetch([url], output)
        assert not output.exists()
        fetch([url], output)
    assert behaviour.seen == [None, "bytes=3000-"]


def test_a_server_without_ranges_starts_anew(output):
    behaviour = Behaviour(CONTENT, ranges=False, breaks=[3000])
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == [None, "bytes=3000-"]


def test_without_a_checksum_only_the_same_version_is_continued(output):
    behaviour = Behaviour(CONTENT, breaks=[3000])
    with serving(behaviour) as url:
        fetch([url], output, UNKNOWN)
    assert behaviour.seen == [None, None]  # no ETag: nothing would tell a mixture
    output.unlink()
    same = Behaviour(CONTENT, etag='"1"', breaks=[3000])
    with serving(same) as url:
        fetch([url], output, UNKNOWN)
    assert same.seen == [None, "bytes=3000-"]
    output.unlink()
    (output.parent / "file.zip.part").write_bytes(b"old version")
    with serving(same) as url:
        (output.parent / "file.zip.part.json").write_text(f'{{"url": "{url}", "etag": "\\"0\\""}}')
        fetch([url], output, UNKNOWN)


def test_a_part_that_does_not_fit_is_thrown_away(output):
    output.parent.mkdir()
    (output.parent / "file.zip.part").write_bytes(b"x" * 3000)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == ["bytes=3000-", None]


@pytest.mark.parametrize(("part", "seen"), [(CONTENT, 1), (CONTENT + b"x", 2)])
def test_a_part_that_is_whole_or_too_long(output, part, seen):
    output.parent.mkdir()
    (output.parent / "file.zip.part").write_bytes(part)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as url:
        fetch([url], output)
    assert len(behaviour.seen) == seen


def test_passing_failures_are_tried_again(output):
    behaviour = Behaviour(CONTENT, statuses=[503, 429, 500])
    with serving(behaviour) as url:
        fetch([url], output)
    assert len(behaviour.seen) == 4


def test_mirrors_are_tried_in_order(output):
    gone, wrong, right = Behaviour(CONTENT, statuses=[404]), Behaviour(CONTENT[::-1]), Behaviour(CONTENT)
    with serving(gone) as first, serving(wrong) as second, serving(right) as third:
        fetch([first, second, third], output)
    assert [len(behaviour.seen) for behaviour in (gone, wrong, right)] == [1, 1, 1]


def test_all_places_and_reasons_are_named(output, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    with serving(Behaviour(CONTENT, statuses=[403])) as first, serving(Behaviour(CONTENT[:-1])) as second:
        nobody = "http://127.0.0.1:9/file.zip"
        with pytest.raises(UserError) as error:
            fetch([first, second, nobody], output)
    for reason in ("file.zip: status 403", f"offers {len(CONTENT) - 1} bytes, not {len(CONTENT)}", "refused"):
        assert reason in str(error.value)
    assert not output.exists() and "\n" not in str(error.value)


def test_a_right_file_is_used_and_a_wrong_one_replaced(output, caplog):
    output.parent.mkdir()
    output.write_bytes(CONTENT)
    fetch(["http://127.0.0.1:9/"], output)
    fetch(["http://127.0.0.1:9/"], output, UNKNOWN)
    output.write_bytes(b"wrong")
    with serving(Behaviour(CONTENT)) as url:
        fetch([url], output)
    assert f"5 bytes, not {len(CONTENT)}" in caplog.text


def test_a_full_disk_is_seen_before_the_transfer(output, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage(10, 9, 1))
    with serving(Behaviour(CONTENT)) as url, pytest.raises(UserError, match="make room"):
        fetch([url], output)


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
    assert manifest == {"archive": "a.zip", "bytes": size, "sha256": sha256, "files": 2, "unpacked_bytes": 5}
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
