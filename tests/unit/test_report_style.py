"""Contrast of text, computed from the style sheets' colours: level AA of WCAG 2.1 requires 4.5."""

import re

import pytest

from vision_r1.report.drawing import COLOURS, ink
from vision_r1.report.style import DARK, INK, MUTED, contrast
from vision_r1.report.template import TEMPLATES

SHEET = (TEMPLATES / "report.css").read_text()
LIGHT, NIGHT = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in SHEET.split(":root")[1:3])
# The darkest shade of a heat map's cell: 55 % accent over paper.
SHADE = 0.55


def mixed(one, other, share):
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#ffffff", "#777777") == contrast("#777777", "#ffffff")


@pytest.mark.parametrize("screen", [LIGHT, LIGHT | NIGHT], ids=["light", "dark"])
def test_text_has_the_contrast_of_aa(screen):
    paper = screen["paper"]
    grounds = {
        "paper": (paper, ("ink", "muted", "accent", "up", "down")),
        "banner": (screen["warn"], ("ink",)),
        "code": (screen["faint"], ("ink",)),
        "heat map": (mixed(screen["accent"], paper, SHADE), ("ink",)),
    }
    ratios = {
        (name, text): contrast(screen[text], ground) for name, (ground, texts) in grounds.items() for text in texts
    }
    assert min(ratios.values()) >= 4.5, ratios


def test_text_of_figures_has_the_contrast_of_aa():
    for colour in (INK, MUTED):
        assert contrast(colour, LIGHT["paper"]) >= 4.5 and contrast(DARK[colour], NIGHT["paper"]) >= 4.5


@pytest.mark.parametrize("colour", [*COLOURS, INK])
def test_labels_on_images_have_the_contrast_of_aa(colour):
    assert contrast(ink(colour), colour) >= 4.5


def test_the_style_sheet_has_no_other_text_colours():
    """So the test above covers all of them; warn-line is a list's marker."""
    text = {"ink", "muted", "accent", "up", "down"}
    assert set(re.findall(r"[^-]color: ([^;]+);", SHEET)) <= {
        "inherit",
        *(f"var(--{name})" for name in text | {"warn-line"}),
    }
