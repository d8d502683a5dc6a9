"""Build a conda channel with `python`, a wrapper of this interpreter, and `pip`, the wheel that comes with Python.

Example: python tests/conda/build_channel.py /tmp/channel
"""

import asyncio
import ensurepip
import hashlib
import io
import json
import os
import platform
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

from rattler.index import index_fs

VERSION = platform.python_version()
MINOR = VERSION.rpartition(".")[0]
INTERPRETER = Path(os.path.realpath(sys._base_executable))


def pack(channel, subdir, name, version, files, links=None, depends=(), link=None):
    """Write one package: `files` are bytes by path, `links` are targets by path."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "subdir": subdir}
    index |= {"depends": [*depends], "timestamp": 1_700_000_000_000} | ({"noarch": "python"} if link else {})
    paths = [_path(path, "hardlink", content) for path, content in files.items()]
    paths += [_path(path, "softlink", b"") for path in links or {}]
    about = {"index.json": index, "paths.json": {"paths": paths, "paths_version": 1}, "about.json": {}}
    about |= {"link.json": link} if link else {}
    files = files | {f"info/{file}": json.dumps(value).encode() for file, value in about.items()}
    (channel / subdir).mkdir(parents=True)
    with tarfile.open(channel / subdir / f"{name}-{version}-0.tar.bz2", "w:bz2") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for path, target in (links or {}).items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)


def _path(path, kind, content):
    digest = hashlib.sha256(content).hexdigest()
    return {"_path": path, "path_type": kind, "sha256": digest, "size_in_bytes": len(content)}


def main(folder):
    channel = Path(folder).resolve()
    settings = f"home = {INTERPRETER.parent}\ninclude-system-site-packages = false\nversion = {VERSION}\n"
    files = {"pyvenv.cfg": settings.encode(), f"lib/python{MINOR}/site-packages/README.txt": b"\n"}
    names = {f"bin/python{MINOR}": str(INTERPRETER), "bin/python3": f"python{MINOR}", "bin/python": f"python{MINOR}"}
    pack(channel, "linux-64", "python", VERSION, files, names)

    # Debian and Fedora keep pip's wheel in a folder of their own.
    wheels = sysconfig.get_config_var("WHEEL_PKG_DIR") or Path(ensurepip.__file__).parent / "_bundled"
    (wheel,) = Path(wheels).glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        content = {f"site-packages/{name}": archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    entry = {"noarch": {"type": "python", "entry_points": ["pip = pip._internal.cli.main:main"]}}
    link = entry | {"package_metadata_version": 1}
    pack(channel, "noarch", "pip", wheel.name.split("-")[1], content, depends=["python >=3.7"], link=link)
    asyncio.run(index_fs(channel))


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # rattler's threads can crash the interpreter at its exit (seen once)
