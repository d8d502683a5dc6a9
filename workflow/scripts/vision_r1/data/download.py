"""Downloads of large files: resumed, retried, from mirrors in order, verified, then renamed into place."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from vision_r1.data.kinds import HEAD, kind_fault
from vision_r1.data.lock_file import locked, record
from vision_r1.exclusive import one_at_a_time
from vision_r1.files import UserError, check_room, file_hash, naming_full_disk
from vision_r1.progress import Progress

log = logging.getLogger(__name__)

ATTEMPTS = 8  # at each address
CHUNK = 1 << 20  # bytes
MAX_BYTES = 200_000_000_000  # of a file of unknown size
TIMEOUT = (15, 60)  # seconds to connect, and between two pieces


@dataclass(frozen=True)
class Expected:
    """What a file must be: its size in bytes and its checksums (hex), each None where nobody published it."""

    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def has_checksum(self) -> bool:
        return bool(self.md5 or self.sha256)

    def fault(self, path: Path, name: str = "") -> str | None:
        """Return what is wrong with a file, or None. Without a checksum, its first bytes must fit its name."""
        size = path.stat().st_size
        if self.size is not None and size != self.size:
            return f"{size} bytes, not {self.size}"
        for kind in ("md5", "sha256"):
            wanted = getattr(self, kind)
            if wanted and (found := file_hash(path, kind)) != wanted.lower():
                return f"{kind} {found}, not {wanted.lower()}"
        with path.open("rb") as file:
            return self.kind_fault(name or path.name, file.read(HEAD))

    def kind_fault(self, name: str, head: bytes) -> str | None:
        """Return why a file that begins with `head` can't be the one of that name, None where a checksum will tell."""
        return None if self.has_checksum else kind_fault(name, head)


class Interruption(Exception):
    """A failure that may pass: worth another attempt at the same address."""


class Refusal(Exception):
    """A failure that will not pass at this address."""


def shown(url: str) -> str:
    """Return an address without what may be secret: user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def download(
    urls: Sequence[str], output: Path, expected: Expected, lock: Path | None = None, longest_wait: float = 60
) -> None:
    """Fetch a file from the first address that has it, unless a valid `output` exists already.

    A part of a file is kept in `<output>.part` and continued, by a later call too. Where `expected` has no size or
    checksum, those of the first download go into the lock file `lock`, and later ones must match them. Raises
    UserError where no address gives the file (naming the reason at each), where the disk has no room, and, where
    HF_HUB_OFFLINE is set, for a file that is not there. Safe for several processes at once: one waits for the other.
    """
    with one_at_a_time(output):  # two writers of one part would mix their bytes
        if lock:
            before = locked(lock, "archives", output.name)
            expected = replace(
                expected, size=expected.size or before.get("bytes"), sha256=expected.sha256 or before.get("sha256")
            )
        _fetch(urls, output, expected, longest_wait)
        if lock:
            facts = {"bytes": output.stat().st_size, "sha256": file_hash(output)}
            record(lock, "archives", output.name, facts)


def _fetch(urls: Sequence[str], output: Path, expected: Expected, longest_wait: float) -> None:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    fault = "not there"
    if output.is_file():
        fault = expected.fault(output)
        if fault is None:
            log.info("%s is there and %s", output, "verified" if expected.has_checksum else "has no known checksum")
            return
        log.warning("%s is there but has %s", output, fault)
    if HF_HUB_OFFLINE:
        raise UserError(f"{output}: {fault}, and HF_HUB_OFFLINE forbids downloads; put {shown(urls[0])} there yourself")
    part = Part(output.with_name(output.name + ".part"), expected)
    reasons = []
    for url in urls:
        retrying = Retrying(
            retry=retry_if_exception_type(Interruption),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(max=longest_wait),
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            retrying(part.fetch, url)
        except (Interruption, Refusal) as error:
            reasons.append(f"{shown(url)}: {error}")
            log.warning("%s", reasons[-1])
        else:
            part.path.replace(output)
            part.origin.unlink(missing_ok=True)
            return
    raise UserError(f"{output}: can't be downloaded; put the file there yourself. Tried {'; '.join(reasons)}")


def _log_retry(state: RetryCallState) -> None:
    log.warning("%s; attempt %d in %.0f s", state.outcome.exception(), state.attempt_number + 1, state.upcoming_sleep)


class Part:
    """A file that is not whole yet; `origin`, beside it, notes the address and version that it comes from."""

    def __init__(self, path: Path, expected: Expected) -> None:
        self.path, self.expected = path, expected
        self.name = path.name.removesuffix(".part")
        self.origin = path.with_name(path.name + ".json")

    def fetch(self, url: str) -> None:
        """Download the rest of the file from an address, and verify it. Raises Interruption, Refusal or UserError."""
        start = self._resume_from(url)
        try:
            self._transfer(url, start)
        except (requests.RequestException, ValueError) as error:
            # A redirect to file://, in a circle or to no address at all will do the same next time.
            lasting = isinstance(error, requests.TooManyRedirects | ValueError)
            raise (Refusal if lasting else Interruption)(_reason(error).replace(url, shown(url))) from None
        except OSError:  # of this disk: a server's page may say that the server's is full
            with naming_full_disk(self.path):
                raise
        fault = self.expected.fault(self.path, self.name)
        if fault is None:
            return
        self.path.unlink()
        raise (Interruption if start else Refusal)(f"the file has {fault}")

    def _resume_from(self, url: str) -> int:
        """Return the byte to continue at: 0 unless the checksum or the server will show whether the parts fit."""
        if not self.path.is_file():
            return 0
        return self.path.stat().st_size if self.expected.has_checksum or self._version(url) else 0

    def _version(self, url: str) -> str | None:
        """Return the server's name (strong ETag) for the version that this part of `url` is of."""
        try:
            origin = json.loads(self.origin.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return origin.get("etag") if origin.get("url") == shown(url) else None

    def _transfer(self, url: str, start: int) -> None:
        headers = {"Accept-Encoding": "identity"}  # bytes as they are, so that positions count
        if start:
            headers["Range"] = f"bytes={start}-"
            if version := self._version(url):
                headers["If-Range"] = version
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing after `start`: the part is whole, or not of this file
                if self.path.stat().st_size != self.expected.size:
                    self.path.unlink()
                    raise Interruption("the server has a shorter file; starting afresh")
                return
            if response.status_code >= 500 or response.status_code in (408, 429):
                raise Interruption(f"status {response.status_code}")
            if response.status_code not in (200, 206):
                raise Refusal(f"status {response.status_code}")
            if response.status_code == 200:
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise Refusal(f"sends {response.headers.get('Content-Range')!r}, asked for bytes {start}-")
            if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                raise Refusal(f"compresses the file (Content-Encoding: {encoding[:20]})")
            total = self.expected.size
            if length := response.headers.get("Content-Length"):
                if not length.isdecimal():
                    raise Refusal(f"sends a Content-Length of {length[:20]!r}")
                total = start + int(length)
            if self.expected.size is not None and total != self.expected.size:
                raise Refusal(f"offers {total} bytes, not {self.expected.size}")
            if start == 0:
                self._note_origin(url, response)
            if total is not None:
                check_room(self.path.parent, total - start)
            self._receive(response, start, total)

    def _note_origin(self, url: str, response: requests.Response) -> None:
        etag = response.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else None
        self.origin.write_text(json.dumps({"url": shown(url), "etag": strong}), encoding="utf-8")

    def _receive(self, response: requests.Response, start: int, total: int | None) -> None:
        progress, done = Progress(total and total // 10**6, "MB", start // 10**6), start
        head = b""
        with self.path.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                if start == 0 and len(head) < HEAD:
                    head += chunk[:HEAD]
                    if len(head) >= HEAD and (fault := self.expected.kind_fault(self.name, head)):
                        raise Refusal(f"the file has {fault}")
                file.write(chunk)
                done += len(chunk)
                if done > (MAX_BYTES if total is None else total):
                    file.truncate(0)
                    raise Refusal(f"does not end after {done} bytes")
                progress.update(done // 10**6)
        if total is not None and self.path.stat().st_size < total:
            raise Interruption(f"broke off after {self.path.stat().st_size} of {total} bytes")


def _reason(error: Exception) -> str:
    """Return a short cause: the innermost of nested transfer errors."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    return f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"
