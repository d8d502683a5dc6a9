"""Outputs that contain times are compared without them: another time is not a difference, another number is."""

import json

import pytest
from comparable import digests

PAGE = """<p>AP 61.9</p><img class="narrow" src="data:{png}"><td>31</td>
<td data-sort="31.2">{time}</td><td>{memory}</td>
<h3>What it took</h3><table>
{rows}
</table><p>after</p>"""
ROWS = '<tr><th>train_sft</th><td>2</td><td data-sort="4.1">4.1 s</td></tr>\n<tr><th>score</th><td>3</td></tr>'
DRAWING = '<path d="M 1 {y}" style="fill: none; stroke: #aab0b7"/><rect/><!-- {jobs} jobs · {time} --><use x="{time}"/>'
FILES = {
    "report/index.html": PAGE.format(png="a", time="31 s", memory="478 MB", rows=ROWS),
    "figures/rulegraph.svg": DRAWING.format(y=2, jobs=3, time="2 min 02 s"),
    "metrics/base.json": json.dumps({"AP": 0.5, "seconds": 3.1}),
    "models/history.jsonl": '{"loss": 1.5, "step_time": 0.1}\n',
    "benchmarks/train_sft.tsv": "s\tmax_rss\n4.1\t572\n",
    "tables/results.csv": "AP\n0.5\n",
}


def compared(folder, **changed):
    for name, text in (FILES | changed).items():
        path = folder / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return digests(folder)


def test_times_are_left_out(tmp_path):
    moved = "\n".join(reversed(ROWS.replace("4.1", "50.0").split("\n")))
    again = {
        "report/index.html": PAGE.format(
            png="b", time="1 h 02 min", memory='<span class="missing">missing</span>', rows=moved
        ),
        "figures/rulegraph.svg": DRAWING.format(y=2, jobs=3, time="48 s"),
        "metrics/base.json": json.dumps({"AP": 0.5, "seconds": 4}),
        "models/history.jsonl": '{"loss": 1.5, "step_time": 0.7}\n',
        "benchmarks/train_sft.tsv": "s\tmax_rss\n9.0\t600\n",
        "models/state/x": "a checkpoint",
    }
    first = compared(tmp_path)
    assert len(first) == len(FILES) and compared(tmp_path, **again) == first


@pytest.mark.parametrize(
    "name, old, new",
    [
        ("report/index.html", "61.9", "62.0"),
        ("report/index.html", "<td>31</td>", "<td>32</td>"),
        ("report/index.html", "<td>3</td>", "<td>4</td>"),
        ("figures/rulegraph.svg", "M 1 2", "M 1 3"),
        ("figures/rulegraph.svg", "3 jobs", "4 jobs"),
        ("metrics/base.json", "0.5", "0.6"),
        ("models/history.jsonl", "1.5", "1.6"),
        ("benchmarks/train_sft.tsv", "max_rss", "rss"),
        ("tables/results.csv", "0.5", "0.6"),
    ],
)
def test_any_other_change_is_a_difference(tmp_path, name, old, new):
    first = compared(tmp_path)
    assert FILES[name].count(old) == 1
    second = compared(tmp_path, **{name: FILES[name].replace(old, new)})
    assert {file for file in first if first[file] != second[file]} == {f"run/{name}"}
