"""A web server for tests that supports ranges and fails on request."""

import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """How the server fails, in its first replies, one value for each.

    `breaks`, `hangs`, `resets`: after how many bytes to close the connection, stop sending, or reset the connection;
    `statuses`: HTTP errors; `ranges`: whether ranges are supported; `seen`: the Range headers of all requests.
    """

    content: bytes
    etag: str | None = None
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    hangs: list[int] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    seen: list[str | None] = field(default_factory=list)


@contextmanager
def serving(behaviour):
    """Yield the address of a server that serves `behaviour.content`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            behaviour.seen.append(self.headers.get("Range"))
            if behaviour.statuses:
                self.send_response(behaviour.statuses.pop(0))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content, start = behaviour.content, 0
            current = self.headers.get("If-Range") in (None, behaviour.etag)
            if self.headers.get("Range") and behaviour.ranges and current:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if behaviour.etag:
                self.send_header("ETag", behaviour.etag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            for stops in (behaviour.breaks, behaviour.hangs, behaviour.resets):
                if stops:
                    self.wfile.write(content[start : start + stops.pop(0)])
                    break
            else:
                self.wfile.write(content[start:])
                return
            self.wfile.flush()
            if stops is behaviour.hangs:
                time.sleep(0.5)
            elif stops is behaviour.resets:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def log_message(self, *arguments):
            pass

    with started(Handler) as address:
        yield f"{address}/file.zip"


@contextmanager
def started(handler):
    """Yield the address of a server with a given request handler."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
