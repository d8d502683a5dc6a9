"""The page in a real browser, opened from disk: nothing of it runs, nothing is asked of the network."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import plot_results
import pytest
import tabulate_results
from report_factory import CHECKPOINTS, Run, metrics, write
from test_render_report import page_of

from vision_r1.files import read_json

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
).split()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)")


@pytest.fixture
def server():
    """A web server on this machine that notes what it is asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}", asked
    web.shutdown()
    web.server_close()


@pytest.fixture
def opened(tmp_path):
    """Open a page from disk: its document after loading, and what the browser's console said."""

    def show(page):
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
        shown = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        return shown.stdout, [line for line in shown.stderr.splitlines() if "CONSOLE" in line]

    return show


def hostile(address):
    return f"</pre></bdi><script>document.title='ran'; console.log('ran')</script><img src='{address}/asked'>"


def test_the_trap_works(tmp_path, server, opened):
    """What the next test looks for would be seen."""
    address, asked = server
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>as written</title>{hostile(address)}")
    document, console = opened(page)
    assert "<title>ran</title>" in document and console and "/asked" in asked


def test_hostile_names_run_no_script_and_ask_for_nothing(tmp_path, server, opened):
    address, asked = server
    run, text = Run(tmp_path / "run", images=2), hostile(address)
    config = read_json(run.config)
    config["report"] |= {"banner": text, "disclosures": [text, "x" * 10_000]}
    write(run.config, config)
    for suite, names in (("coco", [text]), ("odinw13", [text, "z" * 10_000])):
        for name in CHECKPOINTS:
            write(run.metrics(name, suite), metrics(0.3, 1400, suite, names))
    tabulate_results.main(run.flags_of_tabulate())
    plot_results.main(run.flags_of_plot())
    page_of(run)
    document, console = opened(run.folder / "report/index.html")
    assert f"<title>{config['report']['title']}" in document and "Did it work?" in document
    assert not console and not asked
