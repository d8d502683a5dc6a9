"""Debian's chromium, headless, driven over its DevTools protocol through a pipe: no port, no driver."""

import base64
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
).split()
# Chromium reads commands from descriptor 3 and writes answers to 4; a shell connects the pipes.
SHELL = 'exec "$0" "$@" 3<&"$READS" 4>&"$WRITES"'


class Browser:
    """One running chromium with one tab."""

    def __init__(self, profile):
        reads, self._out = os.pipe()
        self._in, writes = os.pipe()
        self._buffer, self._count, self.events = b"", 0, []
        self._process = subprocess.Popen(
            ["bash", "-c", SHELL, CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, "READS": str(reads), "WRITES": str(writes)},
            pass_fds=(reads, writes),
            stderr=subprocess.DEVNULL,
        )
        os.close(reads)
        os.close(writes)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method, **parameters):
        """Send one command and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path, width=1280, dark=False, scripts=True):
        """Load a page from disk, and forget all events before it."""
        self.events.clear()
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive()

    def ask(self, expression):
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        """Press and release Tab, Enter or Space."""
        texts = {"Enter": "\r", "Space": " "}
        codes = {"Tab": 9, "Enter": 13, "Space": 32}
        for kind in ("keyDown", "keyUp"):
            extra = {"text": texts[key]} if kind == "keyDown" and key in texts else {}
            name = " " if key == "Space" else key
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=key, windowsVirtualKeyCode=codes[key], **extra
            )

    def pdf(self):
        """Return the page as it would be printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    @property
    def complaints(self):
        """All console messages: errors, refused scripts, exceptions, and what the page itself logged."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event["params"] for event in self.events if event["method"] in kinds]

    @property
    def requests(self):
        """Addresses that the page requested, except data URIs."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [each["request"]["url"] for each in sent if not each["request"]["url"].startswith("data:")]

    def _receive(self, seconds=60):
        deadline = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], max(0, deadline - time.monotonic()))[0], "no answer from chromium"
            received = os.read(self._in, 1 << 20)
            assert received, "chromium has ended"
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\0")
        answer = json.loads(line)
        if "method" in answer:
            self.events.append(answer)
        return answer
