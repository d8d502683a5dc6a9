"""Code stamps: a hash of what a program means, so that only a change of meaning reruns a step.

A stamp covers a script and the local modules that it imports, directly or not, as syntax trees
without docstrings: comments, docstrings and layout do not count.
"""

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path


def code_stamp(script: str | Path) -> str:
    """Return one line `<file> <hash>` for `script` and each local module that it imports.

    Modules are looked for in the script's folder, as Python does when the script runs.
    """
    root = Path(script).parent
    pending, seen = [Path(script)], set()
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            pending += _imported_files(ast.parse(path.read_text(encoding="utf-8")), path, root)
    return "".join(f"{path.relative_to(root)} {_meaning(path)}\n" for path in sorted(seen))


def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    # unparse, not dump: its text is the same in all Python versions that we support.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def _imported_files(tree: ast.Module, path: Path, root: Path) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(root).parts[: -node.level]) if node.level else ""
            module = ".".join(filter(None, [package, node.module]))
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            # Importing a.b.c also runs a/__init__.py and a/b/__init__.py.
            for depth in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:depth])
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file():
                        yield file
