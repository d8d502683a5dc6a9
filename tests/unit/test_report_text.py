"""Hostile text from a model or a file name has no effect in HTML, Markdown, CSV or a terminal."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1.report.text import LATEX, csv_name, csv_text, duration, latex_text, markdown_text, points
from vision_r1.text import visible


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\x1b", "\x00", "\ud800"])
def test_invisible_characters_are_shown(sign):
    assert visible(f"a{sign}b") == f"a\\u{ord(sign):04x}b"


def test_visible_keeps_requested_characters():
    assert visible("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\u000d"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "'=1"])
def test_no_csv_cell_starts_a_formula(name):
    assert csv_text(name)[0] not in "=+-@\t\r"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_csv_names_survive_the_round_trip(name):
    row = next(csv.reader([csv_text(name)])) if not set(name) & set('",') else [csv_text(name)]
    assert csv_name(row[0] if row else "") == name


@settings(deadline=None)
@given(st.text())
def test_markdown_cells_stay_one_cell(text):
    cell = markdown_text(text)
    assert "\n" not in cell and "\r" not in cell
    bare = cell.replace("\\\\", "")
    assert bare.count("|") == bare.count("\\|") and bare.count("<") == bare.count("\\<")


@settings(deadline=None)
@given(st.text())
def test_latex_text_starts_no_command(text):
    cell = latex_text(text)
    assert "\n" not in cell and "\r" not in cell and not cell.startswith(("[", "*"))
    cell = cell.removeprefix("{}")
    for own in sorted(LATEX.values(), key=len, reverse=True):
        cell = cell.replace(own, "")
    assert not set(cell) & set("\\&%$#_{}~^")


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.361, False, "36.1"),
        (None, False, "missing"),
        (0, False, "0.0"),
        (0.152, True, "+15.2"),
        (-0.042, True, "−4.2"),
        (-0.0001, True, "0.0"),
    ],
)
def test_points(value, signed, text):
    assert points(value, signed) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "missing"),
        (6.52, "6.5 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (402, "6 min 42 s"),
        (11_100, "3 h 05 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
