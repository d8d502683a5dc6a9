"""Servers that send something other than the file: one immediate error, and nothing is locked."""

import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from file_server import started

from vision_r1.data import download as module
from vision_r1.data.download import Expected, download, shown
from vision_r1.files import UserError

ARCHIVE = b"PK\3\4" + bytes(range(256)) * 40
PAGE = b"  <!DOCTYPE html><html>Sign in</html>"


@contextmanager
def answering(body=b"", status=200, endless=False, **headers):
    """Yield the address of a server that answers every request like this, and the list of requests."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            try:
                self.wfile.write(body)
                until = time.monotonic() + 20
                while endless and time.monotonic() < until:
                    self.wfile.write(body)
            except OSError:  # the client hung up
                pass

        def log_message(self, *arguments):
            pass

    with started(Handler) as address:
        yield address, seen


def refused(url, tmp_path, expected=Expected(), name="file.zip"):  # noqa: B008
    """Return the error of a download that must leave no file and no lock entry."""
    lock = tmp_path / "lock.json"
    with pytest.raises(UserError) as error:
        download([url], tmp_path / "out" / name, expected, lock, longest_wait=0)
    assert not lock.exists() and not (tmp_path / "out" / name).exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("file.zip", PAGE, "a web page for content"),
        ("file.json", PAGE, "a web page for content"),
        ("file.parquet", PAGE, "a web page for content"),
        ("file.tar.gz", b"Not found", "no archive for content (b'Not found')"),
        ("file.json", b"Not found", "no JSON for content (b'Not found')"),
        ("file.zip", b"", "no archive for content"),
    ],
)
def test_content_of_another_type_is_refused(tmp_path, name, body, reason):
    with answering(body, Content_Length=len(body)) as (url, seen):
        assert reason in refused(f"{url}/{name}", tmp_path, name=name)
    assert len(seen) == 1


@pytest.mark.parametrize("body", [ARCHIVE, b"\x1f\x8b" + b"x" * 999, b"BZh" + b"x" * 999])
def test_archives_are_recognised_whatever_their_extension(tmp_path, body):
    with answering(body, Content_Length=len(body)) as (url, _):
        download([f"{url}/file.zip"], tmp_path / "file.zip", Expected(), tmp_path / "lock.json")
    assert (tmp_path / "file.zip").read_bytes() == body and (tmp_path / "lock.json").exists()


@pytest.mark.parametrize("known", [Expected(size=len(ARCHIVE)), Expected()])
def test_a_body_that_does_not_end(tmp_path, monkeypatch, known):
    monkeypatch.setattr(module, "MAX_BYTES", 2 * len(ARCHIVE))
    with answering(ARCHIVE * 50, endless=True) as (url, seen):
        began = time.monotonic()
        assert "does not end after" in refused(f"{url}/file.zip", tmp_path, known)
    assert len(seen) == 1 and time.monotonic() - began < 15
    assert (tmp_path / "out/file.zip.part").stat().st_size == 0


@pytest.mark.parametrize("target", ["file:///etc/passwd", "/again", "http://[bad", "ftp://127.0.0.1/file.zip"])
def test_redirects_that_lead_nowhere(tmp_path, target):
    with answering(status=302, Location=target, Content_Length="0") as (url, seen):
        refused(f"{url}/again", tmp_path)
    assert len(seen) == (31 if target == "/again" else 1)  # the first, and the 30 redirects that requests follows


@pytest.mark.parametrize("length", ["abc", "-5", "1e3"])
def test_an_invalid_content_length(tmp_path, length):
    with answering(ARCHIVE, Content_Length=length) as (url, seen):
        assert f"sends a Content-Length of {length!r}" in refused(f"{url}/file.zip", tmp_path)
    assert len(seen) == 1


def test_a_compressed_transfer_is_refused(tmp_path):
    with answering(ARCHIVE, Content_Encoding="gzip", Content_Length=len(ARCHIVE)) as (url, seen):
        assert "Content-Encoding: gzip" in refused(f"{url}/file.zip", tmp_path)
    assert len(seen) == 1


def test_secrets_in_addresses_are_not_shown(tmp_path, caplog, monkeypatch):
    assert shown("https://me:word@host:1/a/b.zip?token=word#word") == "https://host:1/a/b.zip"
    with answering(status=401, Content_Length="0") as (url, _):
        secret = url.replace("//", "//user:SECRET@") + "/file.zip?token=SECRET"
        assert f"{url}/file.zip: status 401" in refused(secret, tmp_path)
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    text = refused("http://user:SECRET@127.0.0.1:9/file.zip?token=SECRET", tmp_path)
    assert "refused" in text and "SECRET" not in text + caplog.text
