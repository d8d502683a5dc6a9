"""The page in a real browser, opened from disk, at two widths, light and dark, with and without scripts."""

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import plot_results
import pytest
import tabulate_results
from browser import CHROMIUM, Browser
from report_factory import write
from report_run import Run, make_hostile
from test_render_report import page_of

from vision_r1.files import write_text

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (apt-get install chromium)")
SCREENS = list(itertools.product((1280, 390), (False, True)))
MAIN = "document.querySelector('table.main')"
FIRST_CELLS = f"[...{MAIN}.tBodies[0].rows].map(row => row.cells[0].innerText + ' ' + row.cells[1].innerText)"
HEAD = f"{MAIN}.querySelector('thead tr:last-child button')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = Browser(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def server():
    """A web server on this machine that records requests."""
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


def rendered(run):
    tabulate_results.main(run.words)
    plot_results.main(run.words)
    page_of(run)
    return run.folder / "report/index.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return rendered(Run(tmp_path_factory.mktemp("run"), images=4))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory, server):
    run = Run(tmp_path_factory.mktemp("hostile"), images=3)
    make_hostile(run, hostile(server[0]))
    return rendered(run)


def hostile(address):
    return (
        f"</pre></bdi></title><script>document.title='ran'; console.log('ran')</script><img src='{address}/asked'"
        f" onerror=\"console.log('ran')\">\"'>\u202e\u2066{{{{ 7*7 }}}}"
    )


def check(browser, path, width):
    """Check that nothing runs or is requested, and that nothing is wider than the screen, folded parts open or not."""
    for opened in ("false", "true"):
        browser.ask(f"document.querySelectorAll('details').forEach(each => each.open = {opened})")
        assert browser.ask("document.documentElement.scrollWidth") <= width
    assert not browser.complaints and browser.requests == [path.as_uri()]


def test_the_browser_detects_what_the_other_tests_look_for(browser, tmp_path, server):
    """On a page that does it, scripts, requests and overflow are noticed."""
    path = tmp_path / "page.html"
    write_text(path, f"<!doctype html><title>as written</title>{hostile(server[0])}<p style='width:3000px'>wide")
    browser.open(path)
    assert browser.ask("document.title") == "ran" and browser.ask("document.documentElement.scrollWidth") > 1280
    assert browser.complaints and f"{server[0]}/asked" in browser.requests and "/asked" in server[1]


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_hostile_text_neither_runs_nor_overflows(browser, hostile_page, server, width, dark):
    server[1].clear()
    browser.open(hostile_page, width, dark)
    assert "script" in browser.ask("document.title") and "Did it work?" in browser.ask("document.body.innerText")
    check(browser, hostile_page, width)
    assert not server[1]


@pytest.mark.parametrize(("width", "dark"), SCREENS)
def test_the_page_fits_and_its_images_load(browser, page, width, dark):
    browser.open(page, width, dark)
    check(browser, page, width)
    images = browser.ask("[...document.images].map(image => [image.naturalWidth, image.alt])")
    assert len(images) > 20 and all(size > 0 and alt for size, alt in images)


def test_dark_is_dark(browser, page):
    def lightness():
        return browser.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")

    browser.open(page)
    assert min(lightness()) > 200
    browser.open(page, dark=True)
    assert max(lightness()) < 60


def test_tables_sort_by_keyboard_and_back(browser, page):
    browser.open(page)
    as_written = browser.ask(FIRST_CELLS)
    column = f"[...{MAIN}.tBodies[0].rows].map(row => parseFloat(row.cells[2].innerText))"
    seen = {}
    for key in ("Enter", "Space", "Enter"):
        browser.ask(f"{HEAD}.focus()")
        browser.press(key)
        seen[browser.ask(f"{HEAD}.parentElement.getAttribute('aria-sort')")] = browser.ask(column)
    assert list(seen) == ["descending", "ascending", None]
    assert seen["descending"] == sorted(seen["descending"], reverse=True)
    assert seen["ascending"] == sorted(seen["ascending"]) and browser.ask(FIRST_CELLS) == as_written


def test_missing_numbers_sort_last_and_the_mean_stays_at_the_end(browser, page):
    browser.open(page)
    heat = "document.querySelector('table.heat')"
    browser.ask(f"{heat}.tBodies[0].rows[0].cells[1].innerHTML = '<span class=missing>missing</span>'")
    for _ in ("descending", "ascending"):
        browser.ask(f"{heat}.querySelectorAll('thead button')[1].click()")
        cells = browser.ask(f"[...{heat}.tBodies[0].rows].map(row => row.cells[1].innerText)")
        names = browser.ask(f"[...{heat}.tBodies[0].rows].map(row => row.cells[0].innerText)")
        assert cells[-2] == "missing" and names[-1] == "mean"


def test_a_long_table_is_filtered_and_keeps_its_head_in_sight(browser, tmp_path):
    run = Run(tmp_path / "run", images=1)
    row = {"name": "images of one", "files": 3, "bytes": None, "sha256": "b" * 64}
    write(run.folder / "checksums.json", [row, *({**row, "name": f"images of {n}"} for n in range(40))])
    browser.open(rendered(run))
    table = "document.querySelector('[aria-label=Checksums] table')"
    browser.ask(f"{table}.closest('details').open = true")
    shown = f"[...{table}.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].innerText)"
    browser.ask(f"field = {table}.closest('details').querySelector('input'); field.value = ' ONE'")
    browser.ask("field.dispatchEvent(new Event('input'))")
    assert browser.ask(shown) == ["images of one"]
    browser.ask("field.value = ''; field.dispatchEvent(new Event('input'))")
    assert len(browser.ask(shown)) == 41
    offset = f"{table}.tHead.getBoundingClientRect().top - {table}.parentElement.getBoundingClientRect().top"
    browser.ask(f"{table}.parentElement.scrollTop = 500")
    assert browser.ask(f"{table}.parentElement.scrollTop") > 0 and abs(browser.ask(offset)) < 2


def test_every_column_head_is_a_button(browser, page):
    browser.open(page)
    heads = "[...document.querySelectorAll('table')].filter(table => table.tBodies[0].rows.length > 2 && table.tHead)"
    assert browser.ask(f"{heads}.every(table => table.querySelector('thead tr:last-child button'))")


def test_the_gallery_opens_by_keyboard(browser, page):
    browser.open(page)
    gallery = "document.querySelector('#gallery details')"
    assert not browser.ask(f"{gallery}.open")
    browser.ask("document.querySelector('a[href=\"#images\"]').focus()")
    browser.press("Enter")
    assert browser.ask(f"{gallery}.open"), "a link to a folded part unfolds it"
    answer = "document.querySelector('#gallery figure details')"
    assert not browser.ask(f"{answer}.open")
    browser.ask(f"{answer}.querySelector('summary').focus()")
    browser.press("Enter")
    assert browser.ask(f"{answer}.open") and "bbox_2d" in browser.ask(f"{answer}.innerText")


def test_the_page_is_whole_without_scripts(browser, page):
    browser.open(page, scripts=False)
    assert browser.ask("document.querySelectorAll('th button').length") == 0
    without = browser.ask("document.body.innerText").split()
    browser.open(page)
    assert browser.ask("document.querySelectorAll('th button').length") > 20
    assert without == browser.ask("document.body.innerText").split()


@pytest.mark.parametrize("which", ["page", "hostile_page"])
def test_it_prints(browser, request, which):
    browser.open(request.getfixturevalue(which))
    printed = browser.pdf()
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 4
