"""Code stamps: a hash of what a program means, so that only a change of meaning reruns a step.

A stamp covers a script and the local modules that it imports, directly or not, as syntax trees
without docstrings: comments, docstrings and layout do not count.
"""

import ast
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# Module -> the hash of its meaning, and the local files that it imports.
Modules = dict[Path, tuple[str, list[Path]]]


def code_stamp(script: str | Path, modules: Modules | None = None) -> str:
    """Return one line `<file> <hash>` for `script` and each local module that it imports.

    Modules are looked for in the script's folder, as Python does when the script runs.
    modules: what was found for other scripts of that folder. It is not looked at again, and what is new is added.
    """
    modules = {} if modules is None else modules
    root = Path(script).parent
    pending, seen = [Path(script)], set()
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            if path not in modules:
                meaning, imports = _read(path.read_text(encoding="utf-8"))
                modules[path] = meaning, _imported_files(imports, path, root)
            pending += modules[path][1]
    return "".join(f"{path.relative_to(root)} {modules[path][0]}\n" for path in sorted(seen))


@cache  # programs share most of their modules
def _read(text: str) -> tuple[str, tuple[tuple[int, tuple[str, ...]], ...]]:
    """Return the hash of a module's meaning, and its imports: (level, names), level 0 for absolute ones."""
    tree, imports = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Import):
            imports.append((0, tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = (f"{module}.{alias.name}".strip(".") for alias in node.names)
            imports.append((node.level, (module, *names)))
    # unparse, not dump: its text is the same in all Python versions that we support.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16], tuple(imports)


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
