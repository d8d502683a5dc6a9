"""Pages from the folder `templates`: text from outside is escaped, and invisible characters are shown."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vision_r1.report.text import BIAS, duration, points
from vision_r1.text import shorten, shorten_middle, visible

TEMPLATES = Path(__file__).with_name("templates")


def environment(finalize: Callable[[Any], Any], autoescape: bool) -> Environment:
    """Return jinja2's settings for all templates; `finalize` makes text from outside safe for the format written."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"points": points, "shorten": shorten, "shorten_middle": shorten_middle, "duration": duration}
    made.globals["bias"] = BIAS
    return made


def fill(template: str, context: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] | None = None) -> str:
    """Return a page; `filters` are a template's own, in addition to the shared ones.

    Templates get the style sheet as `css`, the one script as `script`, and its hash as `script_hash` for the page's
    content security policy: a browser runs no other script.
    """
    html = environment(_finalize, autoescape=True)
    html.filters |= filters or {}
    css, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.css", "tables.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"css": css, "script": script, "script_hash": f"sha256-{digest}"}
    return html.get_template(template).render(**own, **context)


def _finalize(value: Any) -> Any:
    """Show invisible characters in every text that a template writes; jinja2 escapes the rest."""
    return visible(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value
