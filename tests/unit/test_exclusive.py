import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vision_r1.exclusive import NO_LOCKS, lock_of, one_at_a_time


def test_one_works_while_others_wait(tmp_path):
    inside, most = [], []

    def work(number):
        with one_at_a_time(tmp_path / "a"):
            inside.append(number)
            time.sleep(0.001)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(20)))
    assert most == [1] * 20
    assert lock_of(tmp_path / "a").exists()


@pytest.mark.parametrize("reason", NO_LOCKS)
def test_without_locks_the_work_is_done_and_the_log_warns(tmp_path, monkeypatch, caplog, reason):
    def refuse(descriptor, operation):
        raise OSError(reason, "no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        with one_at_a_time(tmp_path / "a"):
            pass
    assert caplog.text.count("a: can't be locked (no locks here); make sure that only one process writes it") == 2
    assert lock_of(tmp_path / "a").exists()  # marks an unpacked folder as ours


def test_a_lock_file_that_can_t_be_written_is_no_reason_to_stop(tmp_path, monkeypatch, caplog):
    """As in a shared folder, where the file is a colleague's; or what is asked for is there, and nothing is written."""
    actual = os.open

    def refuse(path, *words, **options):
        if str(path).endswith(".a.lock"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return actual(path, *words, **options)

    lock_of(tmp_path / "a").touch()
    monkeypatch.setattr("os.open", refuse)
    with one_at_a_time(tmp_path / "a"):
        pass
    assert "a: can't be locked (Permission denied)" in caplog.text


def test_other_faults_are_raised(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), one_at_a_time(tmp_path / "file/a"):
        pytest.fail("not locked")
