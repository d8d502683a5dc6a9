"""Code stamps: a hash of what a program means, so that only a change of meaning reruns a step.

A stamp covers a script and the local modules that it imports, directly or not, as syntax trees
without docstrings: comments, docstrings and layout do not count.

Why not Snakemake's own triggers: they compare the rule's command, and miss a change in the program that it calls. Why
not the files as inputs: a clone renews all dates, and a corrected comment would cost days of training. A stamp counts
whole modules, used or not, so a step may run again without need, but a step with changed code always does. Downloads
have no stamp.
"""

import ast
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from vision_r1.files import UserError, write_text


def code_stamp(script: str | Path) -> str:
    """Return one line `<file> <hash>` for `script` and each local module that it imports.

    Modules are looked for in the script's folder, as Python does when the script runs.
    """
    return Stamps().of(script)


class Stamps:
    """The stamps of several scripts in one folder: each of their modules is read once.

    kept: a file with what earlier processes found, by the hash of a module's text, so that no edit is overlooked.
    Parsing all modules takes as long as all else in the Snakefile.
    """

    def __init__(self, kept: Path | None = None) -> None:
        self.kept, self.used = kept, {}
        self.modules: dict[Path, tuple[str, list[Path]]] = {}  # hash of the meaning, and local files that are imported
        self.known: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            if kept:
                known = json.loads(kept.read_text(encoding="utf-8"))
                self.known = known if isinstance(known, dict) else {}

    def of(self, script: str | Path) -> str:
        """Return the stamp of a script, as code_stamp does."""
        root = Path(script).parent
        pending, seen = [Path(script)], set()
        while pending:
            path = pending.pop()
            if path not in seen:
                seen.add(path)
                if path not in self.modules:
                    meaning, imports = self._reading(path.read_text(encoding="utf-8"))
                    self.modules[path] = meaning, _imported_files(imports, path, root)
                pending += self.modules[path][1]
        return "".join(f"{path.relative_to(root)} {self.modules[path][0]}\n" for path in sorted(seen))

    def keep(self) -> None:
        """Write what was found for the next process, where that is anything new and can be written."""
        if self.kept and not self.used.keys() <= self.known.keys():
            with suppress(OSError, UserError):
                write_text(self.kept, json.dumps(self.used))

    def _reading(self, text: str) -> Any:
        key = hashlib.sha256(f"{_reader()}\n{text}".encode()).hexdigest()
        self.used[key] = self.known[key] if key in self.known else _read(text)
        return self.used[key]


@cache
def _reader() -> str:
    """Return the text of this module: what another version of it has found is of no use."""
    return Path(__file__).read_text(encoding="utf-8")


def _read(text: str) -> tuple[str, list[tuple[int, tuple[str, ...]]]]:
    """Return the hash of a module's meaning, and its imports: (level, names), level 0 for absolute ones."""
    tree, imports = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if part.value != ""]  # which Python 3.12 adds
        # Imports within functions count, too: ast.walk visits them, and programs import torch and others late.
        elif isinstance(node, ast.Import):
            imports.append((0, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            # `from a import b` may mean the module a/b.py or a name in a.py: both are looked for.
            names = (f"{module}.{alias.name}".strip(".") for alias in node.names)
            imports.append((node.level, (module, *names)))
    return hashlib.sha256(_meaning(tree).encode()).hexdigest()[:16], imports


def _meaning(node: Any) -> str:
    """Return a syntax tree as text that is the same in all Python versions, which ast.dump's and ast.unparse's are not:
    they add fields, leave out empty ones, and put f-strings into other quotation marks."""
    if isinstance(node, ast.AST):
        given = ((name, value) for name, value in ast.iter_fields(node) if value is not None and value != [])
        return f"{type(node).__name__}({', '.join(f'{name}={_meaning(value)}' for name, value in given)})"
    return f"[{', '.join(map(_meaning, node))}]" if isinstance(node, list) else ascii(node)


def _imported_files(imports: Sequence[tuple[int, Sequence[str]]], path: Path, root: Path) -> list[Path]:
    places = set()
    for level, names in imports:
        package = path.relative_to(root).parts[:-level] if level else ()
        for name in names:
            parts = (*package, *filter(None, name.split(".")))
            # Importing a.b.c also runs a/__init__.py and a/b/__init__.py.
            places |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    files = (root / f"{place}{ending}" for place in places for ending in (".py", "/__init__.py"))
    return [file for file in files if file.is_file()]
