import hashlib
import io
import zipfile

import download_archive
import pytest
import unpack_archive
from file_server import Behaviour, serving

from vision_r1.files import UserError, read_json


@pytest.fixture
def content():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("val/1.jpg", b"pixels")
    return file.getvalue()


def test_from_a_mirror_to_a_folder(tmp_path, content):
    archive, folder, manifest = tmp_path / "d/val.zip", tmp_path / "d/val", tmp_path / "d/val.json"
    with serving(Behaviour(b"", statuses=[404])) as gone, serving(Behaviour(content)) as mirror:
        size, md5 = str(len(content)), hashlib.md5(content).hexdigest()
        words = ["--url", gone, "--mirror", mirror, "--bytes", size, "--md5", md5, "--output_file", str(archive)]
        download_archive.main(words)
    unpack_archive.main(["--archive", str(archive), "--output_folder", str(folder), "--output_manifest", str(manifest)])
    assert (folder / "val/1.jpg").read_bytes() == b"pixels"
    assert read_json(manifest)["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_refused_archive_leaves_no_manifest(tmp_path, content):
    (tmp_path / "val.zip").write_bytes(content)
    with pytest.raises(UserError, match="--max_files 0"):
        unpack_archive.main(
            [
                *("--archive", str(tmp_path / "val.zip"), "--output_folder", str(tmp_path / "val")),
                *("--output_manifest", str(tmp_path / "val.json"), "--max_files", "0"),
            ]
        )
    assert [path.name for path in tmp_path.iterdir()] == ["val.zip"]
