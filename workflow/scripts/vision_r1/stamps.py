"""Code stamps: a hash of what a program means, so that only a change of meaning reruns a step.

A stamp covers a script and the local modules that it imports, directly or not, as syntax trees
without docstrings: comments, docstrings and layout do not count.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path


def code_stamp(script: str | Path) -> str:
    """Return one line `<file> <hash>` for `script` and each local module that it imports.

    Modules are looked for in the script's folder, as Python does when the script runs.
    """
    root = Path(script).parent
    pending, seen = [Path(script)], {}
    while pending:
        path = pending.pop()
        if path not in seen:
            seen[path], imports = _read(path.read_text(encoding="utf-8"))
            pending += _imported_files(imports, path, root)
    return "".join(f"{path.relative_to(root)} {meaning}\n" for path, meaning in sorted(seen.items()))


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


def _imported_files(imports: Sequence[tuple[int, Sequence[str]]], path: Path, root: Path) -> Iterator[Path]:
    for level, names in imports:
        package = path.relative_to(root).parts[:-level] if level else ()
        for name in names:
            parts = [*package, *filter(None, name.split("."))]
            # Importing a.b.c also runs a/__init__.py and a/b/__init__.py.
            for depth in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:depth])
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file():
                        yield file
