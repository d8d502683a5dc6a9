import errno
import hashlib
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
from file_server import Behaviour, serving

from vision_r1.data import download as module
from vision_r1.data.download import Expected, download
from vision_r1.data.lock_file import locked
from vision_r1.files import UserError

CONTENT = b"PK\3\4" + bytes(range(256)) * 40
OTHER = CONTENT[:4] + CONTENT[4:][::-1]  # by its first bytes an archive, too
RIGHT = Expected(len(CONTENT), hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest())
UNKNOWN = Expected()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "downloads/file.zip"


def fetch(urls, output, expected=RIGHT, lock=None):
    download(urls, output, expected, lock, longest_wait=0)
    assert output.read_bytes() == CONTENT
    assert sorted(path.name for path in output.parent.iterdir()) == [".file.zip.lock", "file.zip"]


@pytest.mark.parametrize("expected", [RIGHT, UNKNOWN, Expected(md5=RIGHT.md5.upper())])
def test_downloads_and_verifies(output, expected):
    with serving(Behaviour(CONTENT)) as url:
        fetch([url], output, expected)


def test_resumes_where_the_connection_broke(output):
    behaviour = Behaviour(CONTENT, breaks=[3000, 2000])
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == [None, "bytes=3000-", "bytes=5000-"]


def test_a_later_call_resumes(output, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    behaviour = Behaviour(CONTENT, breaks=[3000])
    with serving(behaviour) as url:
        with pytest.raises(UserError, match="put the file there yourself"):
            fetch([url], output)
        assert not output.exists()
        fetch([url], output)
    assert behaviour.seen == [None, "bytes=3000-"]


def test_a_second_process_waits_and_takes_the_file(output):
    """As after `kill -9` of snakemake, whose local jobs keep running: two writers of one part would mix their bytes."""
    behaviour = Behaviour(CONTENT, hangs=[5000])
    with serving(behaviour) as url, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: fetch([url], output, UNKNOWN), range(2)))
    assert behaviour.seen == [None, None]  # both from the first, whose connection broke


def test_without_ranges_the_download_restarts(output):
    behaviour = Behaviour(CONTENT, ranges=False, breaks=[3000])
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == [None, "bytes=3000-"]


def test_without_a_checksum_only_the_same_version_is_continued(output):
    behaviour = Behaviour(CONTENT, breaks=[3000])
    with serving(behaviour) as url:
        fetch([url], output, UNKNOWN)
    assert behaviour.seen == [None, None]  # without an ETag a mixture of versions would go unnoticed
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


def test_a_partial_file_that_does_not_fit_is_deleted(output):
    output.parent.mkdir()
    (output.parent / "file.zip.part").write_bytes(b"x" * 3000)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == ["bytes=3000-", None]


@pytest.mark.parametrize(("part", "seen"), [(CONTENT, 1), (CONTENT + b"x", 2)])
def test_a_partial_file_that_is_complete_or_too_long(output, part, seen):
    output.parent.mkdir()
    (output.parent / "file.zip.part").write_bytes(part)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as url:
        fetch([url], output)
    assert len(behaviour.seen) == seen


def test_temporary_failures_are_retried(output):
    behaviour = Behaviour(CONTENT, statuses=[503, 429, 500])
    with serving(behaviour) as url:
        fetch([url], output)
    assert len(behaviour.seen) == 4


def test_a_servers_full_disk_is_not_ours(output):
    page = Behaviour(b"<html>Disk quota exceeded</html>" + b" " * 2000)
    with serving(page) as full, serving(Behaviour(CONTENT)) as mirror:
        fetch([full, mirror], output, UNKNOWN)


def test_mirrors_are_tried_in_order(output):
    gone, wrong, right = Behaviour(CONTENT, statuses=[404]), Behaviour(OTHER), Behaviour(CONTENT)
    with serving(gone) as first, serving(wrong) as second, serving(right) as third:
        fetch([first, second, third], output)
    assert [len(behaviour.seen) for behaviour in (gone, wrong, right)] == [1, 1, 1]


def test_all_addresses_and_reasons_are_named(output, monkeypatch):
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


def test_a_full_disk_is_noticed_before_the_transfer(output, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10, 9, 1))
    with serving(Behaviour(CONTENT)) as url, pytest.raises(UserError, match="make room"):
        fetch([url], output)


def test_the_first_download_is_locked_and_later_ones_must_match(output, tmp_path):
    lock = tmp_path / "lock.json"
    with serving(Behaviour(CONTENT)) as url:
        fetch([url], output, UNKNOWN, lock)
    assert locked(lock, "archives", "file.zip") == {"bytes": RIGHT.size, "sha256": RIGHT.sha256}
    fetch(["http://127.0.0.1:9/"], output, UNKNOWN, lock)
    output.unlink()
    with serving(Behaviour(OTHER)) as wrong, pytest.raises(UserError, match="sha256 .*, not " + RIGHT.sha256):
        fetch([wrong], output, UNKNOWN, lock)
    with serving(Behaviour(OTHER)) as wrong, serving(Behaviour(CONTENT)) as right:
        fetch([wrong, right], output, UNKNOWN, lock)


def test_a_file_downloaded_by_hand_is_locked(output, tmp_path):
    output.parent.mkdir()
    output.write_bytes(CONTENT)
    fetch(["http://127.0.0.1:9/"], output, UNKNOWN, tmp_path / "lock.json")
    output.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="can't be downloaded"):
        module.ATTEMPTS, attempts = 1, module.ATTEMPTS
        try:
            fetch(["http://127.0.0.1:9/"], output, UNKNOWN, tmp_path / "lock.json")
        finally:
            module.ATTEMPTS = attempts


def test_offline_nothing_is_requested(output, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    behaviour = Behaviour(CONTENT)
    with serving(behaviour) as url:
        with pytest.raises(UserError, match=f"not there, and HF_HUB_OFFLINE forbids .* put {url} there yourself"):
            fetch([url], output)
        output.write_bytes(CONTENT[:-1])
        with pytest.raises(UserError, match=f"{len(CONTENT) - 1} bytes, not {len(CONTENT)}, and HF_HUB_OFFLINE"):
            fetch([url], output)
        output.write_bytes(CONTENT)
        fetch([url], output)
    assert behaviour.seen == []


def test_a_request_to_a_hanging_server_is_retried(output, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", (1, 0.2))
    behaviour = Behaviour(CONTENT, hangs=[0, 3000])
    with serving(behaviour) as url:
        fetch([url], output)
    assert behaviour.seen == [None, None, "bytes=3000-"]


def test_a_download_resumes_after_a_connection_reset(output):
    behaviour = Behaviour(CONTENT, resets=[3000])
    with serving(behaviour) as url:
        fetch([url], output)
    assert len(behaviour.seen) == 2


def test_a_disk_that_fills_up_keeps_the_partial_file(output, monkeypatch):
    original = module.Part._receive

    def full(self, response, start, total):
        self.path.write_bytes(CONTENT[:2000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(Behaviour(CONTENT)) as url:
        monkeypatch.setattr(module.Part, "_receive", full)
        with pytest.raises(UserError, match="no space left on its disk .*; make room"):
            fetch([url], output)
        monkeypatch.setattr(module.Part, "_receive", original)
        fetch([url], output)


def test_a_file_that_is_gone_everywhere(output):
    with serving(Behaviour(b"", statuses=[404])) as first, serving(Behaviour(b"", statuses=[404])) as second:
        with pytest.raises(UserError, match=r"can't be downloaded; put the file there .*status 404; .*status 404"):
            fetch([first, second], output)
