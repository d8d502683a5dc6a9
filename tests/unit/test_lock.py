import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from vision_r1.data.lock_file import locked, record
from vision_r1.files import UserError


def test_the_first_recorded_facts_are_kept(tmp_path):
    lock = tmp_path / "config/lock.json"
    assert locked(lock, "archives", "a.zip") == {}
    record(lock, "archives", "a.zip", {"bytes": 5, "sha256": "ab"})
    record(lock, "archives", "a.zip", {"bytes": 5})
    record(lock, "datasets", "a", {"images": 2})
    assert locked(lock, "archives", "a.zip") == {"bytes": 5, "sha256": "ab"}
    with pytest.raises(UserError, match=r"lock.json: archives.a.zip.bytes is 5, but the download now has 6; .* remove"):
        record(lock, "archives", "a.zip", {"bytes": 6})
    assert json.loads(lock.read_text()) == {
        "archives": {"a.zip": {"bytes": 5, "sha256": "ab"}},
        "datasets": {"a": {"images": 2}},
    }


def test_simultaneous_writers_lose_nothing(tmp_path):
    lock = tmp_path / "lock.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(lock, "archives", f"{number:02}", {"bytes": number}), range(40)))
    assert list(json.loads(lock.read_text())["archives"]) == [f"{number:02}" for number in range(40)]


@pytest.mark.parametrize("content", ["[]", '{"archives": 3}', '{"archives"'])
def test_an_invalid_file_is_named(tmp_path, content):
    (tmp_path / "lock.json").write_text(content)
    with pytest.raises(UserError, match="lock.json: not"):
        locked(tmp_path / "lock.json", "archives", "a")
