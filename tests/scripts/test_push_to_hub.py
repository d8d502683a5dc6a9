"""Uploading a release: a dry run by default; the hub's client does the work, and no token is printed."""

import shutil
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import push_to_hub
import pytest
from tiny_models import make_checkpoint

from vision_r1.files import SEAL, UserError, seal_folder

TOKEN = "hf_secretsecretsecret"


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release") / "strict"
    make_checkpoint(folder, "qwen2_5_vl", "older")
    (folder / "README.md").write_text("---\nlicense: other\n---\n# A card")
    seal_folder(folder)
    (folder / ".snakemake_timestamp").touch()
    return folder


@pytest.fixture
def api(monkeypatch):
    """Replace the hub's client; returns the list of calls."""
    calls = []

    class Api:
        def create_repo(self, repository, **options):
            calls.append(("create_repo", repository, options))

        def repo_info(self, repository):
            return SimpleNamespace(private=repository != "me/public")

        def upload_folder(self, **options):
            calls.append(("upload_folder", options))
            return SimpleNamespace(commit_url="https://hub.example/commit/1")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return calls


def push(released, *more):
    push_to_hub.main(["--release", str(released), "--repository", "me/model", *more])


def test_without_upload_it_only_shows_files_sizes_and_card(released, api, capsys):
    push(released)
    shown = capsys.readouterr().out
    size = (released / "model.safetensors").stat().st_size
    assert f"{size:,} bytes  model.safetensors" in shown and "# A card" in shown and "public" in shown
    assert "Nothing was uploaded" in shown and ".snakemake_timestamp" not in shown and api == []


def test_with_upload_exactly_the_shown_files_go_to_the_repository(released, api, capsys):
    push(released, "--upload", "--private")
    (_, repository, made), (_, sent) = api
    assert (repository, made) == ("me/model", {"private": True, "exist_ok": True})
    assert sent["folder_path"] == released and sent["repo_id"] == "me/model"
    assert set(sent["allow_patterns"]) == {path.name for path in released.iterdir()} - {".snakemake_timestamp"}
    assert "https://hub.example/commit/1" in capsys.readouterr().out


def test_files_added_to_the_release_are_not_uploaded(released, api, tmp_path, capsys):
    folder = shutil.copytree(released, tmp_path / "release")
    for name in ("photo.jpg", "boxes.png"):
        (folder / name).write_text("mine alone")
    (folder / "notes").mkdir()
    push(folder, "--upload")
    sent = set(api[-1][1]["allow_patterns"])
    assert {"README.md", SEAL, "model.safetensors"} < sent and not sent & {"photo.jpg", "boxes.png", "notes"}
    shown = capsys.readouterr().out
    assert "not part of the release: boxes.png, notes, photo.jpg" in shown and "bytes  photo.jpg" not in shown


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").open("a").write(" "), r"config\.json: damaged or edited"),
        (lambda folder: (folder / "generation_config.json").unlink(), r"generation_config\.json: damaged or edited"),
        (lambda folder: (folder / SEAL).unlink(), r"seal\.sha256: no such file"),
        (lambda folder: (folder / SEAL).write_text(""), r"seal\.sha256: does not name config\.json"),
    ],
)
def test_a_damaged_release_is_refused(released, api, tmp_path, damage, message):
    folder = shutil.copytree(released, tmp_path / "release")
    damage(folder)
    with pytest.raises(UserError, match=message):
        push(folder, "--upload")
    assert api == []


def test_a_private_upload_to_a_public_repository_is_refused(released, api):
    words = ["--release", str(released), "--repository", "me/public", "--upload"]
    with pytest.raises(UserError, match="me/public: exists and is public"):
        push_to_hub.main([*words, "--private"])
    assert [call[0] for call in api] == ["create_repo"]
    push_to_hub.main(words)
    assert api[-1][0] == "upload_folder"


@pytest.mark.parametrize(
    ("name", "message"),
    [("model", "give owner/name"), ("a/b/c", "not a repository name"), ("me/mo del", "not a repository name")],
)
def test_an_invalid_repository_name_is_refused(released, api, name, message):
    with pytest.raises(UserError, match=message):
        push_to_hub.main(["--release", str(released), "--repository", name, "--upload"])
    assert api == []


def test_a_folder_without_a_release_is_refused(tmp_path, api):
    with pytest.raises(UserError, match=r"README\.md: no such file"):
        push(tmp_path, "--upload")
    assert api == []


def test_an_unreachable_hub_is_reported_in_one_line(released, tmp_path):
    with socket.socket() as closed:  # bound but not listening: every connection is refused
        closed.bind(("127.0.0.1", 0))
        environment = {"HF_ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}", "HF_TOKEN": TOKEN}
        environment |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(push_to_hub.__file__).parent)}
        program = (
            "import sys\nfrom pathlib import Path\nfrom vision_r1 import hub\nfrom vision_r1.files import UserError\n"
            "for call in (lambda: hub.upload('me/model', Path(sys.argv[1]), ['README.md'], False),\n"
            "             lambda: hub.list_files('me/model', None),\n"
            "             lambda: hub.download('me/model', '0' * 40, Path(sys.argv[2]), ['*'])):\n"
            "    try:\n        call()\n    except UserError as error:\n        print(error)\n"
        )
        words = [sys.executable, "-c", program, str(released), str(tmp_path / "model")]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("me/model") and "can't be" in line for line in lines)


def test_a_refusal_by_the_hub_is_reported_in_one_line_without_the_token(released):
    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.headers.get("Authorization"))
            self.send_error(401, f"no such token {TOKEN[:3]}")

        def log_message(self, *words):
            pass

    asked = []
    web = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    Thread(target=web.serve_forever, daemon=True).start()
    words = [push_to_hub.__file__, "--release", str(released), "--repository", "me/model", "--upload"]
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{web.server_port}", "HF_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)
    web.shutdown()
    web.server_close()
    assert done.returncode == 1 and asked and all(TOKEN in header for header in asked)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: me/model: can't be uploaded to: ") and "Traceback" not in done.stderr
    assert TOKEN not in done.stdout + done.stderr
