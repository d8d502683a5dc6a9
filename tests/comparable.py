"""The part of a run's outputs that is the same in every run: everything except times and memory.

Files with such values are listed in MASKS, each with a function that removes them; all other files are compared byte by
byte.
"""

import hashlib
import json
import re
from fnmatch import fnmatch
from pathlib import Path

# Files that jobs resume from or look up; they are not outputs.
CACHES = ("state/", "image_cache.sqlite")
MEASURED = {"seconds", "peak_rss_mb", "peak_gpu_mb", "hardware", "samples_per_second", "step_time"}
DURATION = r"(?:\d+ h \d+ min|\d+ min \d+ s|[\d.]+ s)"


def digests(results: Path) -> dict[str, str]:
    """Return a hash of each output by name, without its times and memory."""
    found = {}
    for path in sorted(results.rglob("*")):
        name = str(path.relative_to(results))
        if path.is_file() and not any(part in f"/{name}" for part in ("/.", *(f"/{cache}" for cache in CACHES))):
            found[name] = hashlib.sha256(compared(results, name)).hexdigest()
    return found


def compared(results: Path, name: str) -> bytes:
    """Return the part of an output that is compared."""
    mask = next((mask for pattern, mask in MASKS.items() if fnmatch(name, pattern)), bytes)
    return mask((results / name).read_bytes())


def name_alone(content: bytes) -> bytes:
    """Remove everything: only the file's existence is compared."""
    return b""


def columns(content: bytes) -> bytes:
    """Return the names of a benchmark file's columns."""
    return content.partition(b"\n")[0]


def json_values(content: bytes) -> bytes:
    return json.dumps(_computed(json.loads(content))).encode()


def json_lines(content: bytes) -> bytes:
    return b"\n".join(map(json_values, filter(None, content.split(b"\n"))))


def rulegraph(content: bytes) -> bytes:
    """Return the drawing's frames, lines and text; the bars are shares of time."""
    drawing = content.decode()
    lines = re.findall(r'<path d="[^"]*"[^>]*stroke: #aab0b7', drawing)
    return "\n".join([*lines, *re.findall(r"<!-- .* -->", re.sub(DURATION, "TIME", drawing))]).encode()


def page(content: bytes) -> bytes:
    """Return the report without the rulegraph, which is compared separately, and with rules sorted by name.

    The report sorts rules by time, and shows 'missing' as the memory of a job that took less than a second.
    """
    text = re.sub(r'<img class="narrow" src="[^"]*"', "", content.decode())
    text = re.sub(rf'<td(?: data-sort="[\d.]*")?>{DURATION}</td>', "<td>TIME</td>", text)
    text = re.sub(r'<td>(?:[\d,]+ MB|<span class="missing">missing</span>)</td>', "<td>MEMORY</td>", text)
    before, title, after = text.partition("<h3>What it took</h3>")
    table, end, rest = after.partition("</table>")
    return "".join([before, title, "\n".join(sorted(table.split("\n"))), end, rest]).encode()


def _computed(value):
    """Return JSON without measured values."""
    if isinstance(value, dict):
        return {key: _computed(item) for key, item in value.items() if key not in MEASURED}
    return [_computed(item) for item in value] if isinstance(value, list) else value


MASKS = {
    "*/benchmarks/*": columns,
    "*/logs/*": name_alone,
    "*/figures/rulegraph.png": name_alone,  # a picture of the next entry
    "*/figures/rulegraph.svg": rulegraph,
    "*/report/index.html": page,
    "*.json": json_values,
    "*.jsonl": json_lines,
}
