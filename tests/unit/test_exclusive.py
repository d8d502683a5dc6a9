import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from vision_r1.exclusive import lock_of, one_at_a_time


def test_one_works_while_others_wait(tmp_path):
    inside, most = [], []

    def work(number):
        with one_at_a_time(tmp_path / "a"):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(100)))
    assert most == [1] * 100
    assert lock_of(tmp_path / "a").exists()


@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_the_work_is_done_and_the_log_warns(tmp_path, monkeypatch, caplog, reason):
    def refuse(descriptor, operation):
        raise OSError(reason, "no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        with one_at_a_time(tmp_path / "a"):
            pass
    assert caplog.text.count("a: this file system has no locks; make sure that only one process writes it") == 2
    assert lock_of(tmp_path / "a").exists()  # marks an unpacked folder as ours


def test_other_faults_are_raised(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), one_at_a_time(tmp_path / "file/a"):
        pytest.fail("not locked")
