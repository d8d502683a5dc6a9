"""From where make installs torch: the CPU build on Linux without an NVIDIA driver, PyPI's everywhere else."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pip
import pytest

# Two stand-ins for python3. The first records pip's arguments. The second makes .venv without pip, which is much faster
# (PYTHONPATH has one).
NOTING = """#!/bin/sh
case "$2" in
venv) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
pip) echo "$*" >>pip.log ;;
esac
"""
QUICK = f"""#!/bin/sh
[ "$2" != venv ] || exec {sys.executable} -m venv --without-pip .venv
"""


@pytest.fixture
def folder(root, tmp_path):
    """A folder with the Makefile and the pin of torch; programs in `bin` take precedence over the machine's."""
    shutil.copy(root / "Makefile", tmp_path)
    pin = re.search(r"^torch==.+\n", (root / "requirements.txt").read_text(), re.M)[0]
    (tmp_path / "requirements.txt").write_text(pin)
    (tmp_path / "requirements.lock").write_text("# nothing but torch is needed here\n")
    (tmp_path / "bin").mkdir()
    program(tmp_path, "nvidia-smi", "#!/bin/sh\nexit 9\n")
    return tmp_path


def program(folder, name, text):
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)


def make(folder, *words, **environment):
    """Run make without the machine's pip settings, and without a driver unless the arguments name one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "MAKE", "MFLAGS"))}
    environment = {**kept, "PIP_CONFIG_FILE": os.devnull, **environment, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    return subprocess.run(
        ["make", "NVIDIA_DRIVER=/nonexistent", *words, ".venv/.runtime"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def install(folder, *words, **environment):
    """Run make with the real pip; the folder `pypi`, if it exists, replaces PyPI."""
    program(folder, "python3", QUICK)
    (folder / "library").mkdir(exist_ok=True)
    if not (folder / "library/pip").exists():
        (folder / "library/pip").symlink_to(Path(pip.__file__).parent)
    places = {"PIP_INDEX_URL": f"file://{folder}/pypi", "PYTHONPATH": str(folder / "library")}
    return make(folder, *words, **places, **environment)


def add_wheel(folder, version):
    """Write an empty wheel of torch, and an index page that links to it."""
    folder.mkdir(parents=True)
    file, name = folder / f"torch-{version}-py3-none-any.whl", f"torch-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}/RECORD", "")
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file.name}">{file.name}</a>')


@pytest.fixture
def version(folder):
    return (folder / "requirements.txt").read_text().strip().removeprefix("torch==")


def installed(folder):
    return [path.name for path in folder.glob(".venv/lib/python*/site-packages/torch-*")]


@pytest.mark.parametrize(
    "words, name, text",
    [
        (["NVIDIA_DRIVER=/dev/null"], "true", "#!/bin/sh\n"),
        ([], "nvidia-smi", "#!/bin/sh\n"),
        ([], "uname", "#!/bin/sh\necho Darwin\n"),
    ],
    ids=["driver", "nvidia-smi", "macOS"],
)
def test_with_a_driver_or_on_macos_torch_comes_from_pypi(folder, words, name, text):
    program(folder, "python3", NOTING)
    program(folder, name, text)
    finished = make(folder, *words)
    assert finished.returncode == 0 and "No NVIDIA driver" not in finished.stdout, finished.stdout
    assert (folder / "pip.log").read_text().splitlines() == [
        "-m pip install --no-deps --require-hashes --requirement requirements.lock",
        "-m pip install --requirement requirements.txt",
    ]


def test_without_a_driver_a_local_wheel_is_preferred(folder, version):
    """torch's index, which could not answer here, is not contacted."""
    add_wheel(folder / "pypi/torch", version)
    add_wheel(folder / "wheels", f"{version}+cpu")
    finished = install(folder, "CPU_BUILDS=http://127.0.0.1:9/cpu", PIP_FIND_LINKS=str(folder / "wheels"))
    assert finished.returncode == 0 and "Retrying" not in finished.stdout, finished.stdout
    assert finished.stdout.count("No NVIDIA driver here: the CPU build") == 1
    assert installed(folder) == [f"torch-{version}+cpu.dist-info"]


def test_without_a_driver_torch_comes_from_its_own_index(folder, version):
    add_wheel(folder / "pypi/torch", version)
    add_wheel(folder / "cpu/torch", f"{version}+cpu")
    finished = install(folder, f"CPU_BUILDS=file://{folder}/cpu")
    assert finished.returncode == 0, finished.stdout
    assert installed(folder) == [f"torch-{version}+cpu.dist-info"]


def test_no_cpu_build_is_an_error_and_installs_nothing(folder, version):
    add_wheel(folder / "pypi/torch", version)
    finished = install(folder, "CPU_BUILDS=http://127.0.0.1:9/cpu")
    assert finished.returncode and f"error: found no CPU build of torch=={version}." in finished.stdout, finished.stdout
    assert not (folder / ".venv/.runtime").exists() and not installed(folder)


def test_without_a_driver_an_installed_torch_stays(folder, version):
    """So PyPI's build can be installed by hand if torch's index is unreachable."""
    place = folder / "library" / f"torch-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    finished = install(folder, "CPU_BUILDS=http://127.0.0.1:9/cpu")
    assert finished.returncode == 0 and "Retrying" not in finished.stdout, finished.stdout
    assert installed(folder) == []
