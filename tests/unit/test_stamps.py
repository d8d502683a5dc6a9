"""Code stamps ignore layout, comments and docstrings; everything else counts."""

import os

import pytest

import vision_r1.stamps
from vision_r1.stamps import Stamps, code_stamp

MODULES = {
    "train.py": '"""Doc."""\nfrom package.rewards import score\nprint(score(1))\n',
    "package/__init__.py": "",
    "package/rewards.py": "from package import boxes\nfrom . import matching\nscore = lambda x: boxes.area(x)\n",
    "package/boxes.py": "def area(x):\n    '''Area.'''\n    return x\n",
    "package/matching.py": "",
    "package/unused.py": "x = 1\n",
}


@pytest.fixture
def script(tmp_path):
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "train.py"


def edit(script, name, old, new):
    path = script.parent / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_names_the_script_and_every_module_that_it_imports(script):
    files = [line.split()[0] for line in code_stamp(script).splitlines()]
    assert files == ["package/__init__.py", "package/boxes.py", "package/matching.py", "package/rewards.py", "train.py"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train.py", '"""Doc."""', '"""Another text."""'),
        ("train.py", '"""Doc."""\n', ""),
        ("package/boxes.py", "'''Area.'''", "# a comment\n    'Area, in pixels.'"),
        ("package/rewards.py", "boxes.area(x)", "boxes.area( x )  # as before"),
        ("package/unused.py", "x = 1", "x = 2"),
    ],
)
def test_layout_comments_and_docstrings_do_not_count(script, name, old, new):
    before = code_stamp(script)
    edit(script, name, old, new)
    assert code_stamp(script) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("train.py", "score(1)", "score(2)"),
        ("package/boxes.py", "return x", "return 2 * x"),
        ("package/rewards.py", "from . import matching\n", ""),
    ],
)
def test_a_change_of_meaning_counts(script, name, old, new):
    before = code_stamp(script)
    edit(script, name, old, new)
    assert code_stamp(script) != before


def test_scripts_share_parsed_modules(script):
    other = script.parent / "score.py"
    other.write_text("from package import matching, rewards\n")
    stamps = Stamps()
    assert [stamps.of(path) for path in (script, other)] == [code_stamp(script), code_stamp(other)]
    assert stamps.modules.keys() == {script.parent / name for name in MODULES if "unused" not in name} | {other}


def test_parsed_modules_are_cached_for_the_next_process_by_their_text(script, tmp_path, monkeypatch):
    def found():
        stamps = Stamps(tmp_path / "kept.json")
        stamp = stamps.of(script)
        stamps.keep()
        return stamp

    read, texts = vision_r1.stamps._read, []
    monkeypatch.setattr(vision_r1.stamps, "_read", lambda text: texts.append(text) or read(text))
    before = found()
    assert before == code_stamp(script) and len(texts) == 10
    assert found() == before and len(texts) == 10
    times = (script.parent / "package/boxes.py").stat()
    edit(script, "package/boxes.py", "return x", "return y")
    os.utime(script.parent / "package/boxes.py", ns=(times.st_atime_ns, times.st_mtime_ns))  # and the same size
    after = found()
    assert len(texts) == 11 and after == code_stamp(script) != before
    for damaged in ("{ cut off", "[]", "3", "null"):
        (tmp_path / "kept.json").write_text(damaged)
        assert found() == after
    monkeypatch.setattr(vision_r1.stamps, "_reader", lambda: "another version")
    texts.clear()
    assert found() == after and len(texts) == 5


def test_the_python_that_reads_a_program_does_not_count(tmp_path):
    """Otherwise another version of Python would repeat all trainings. Versions 3.11 to 3.14 differ in these trees."""
    (tmp_path / "program.py").write_text(
        "def f(x, *, y=None):\n"
        "    pass\n\n\n"
        "class A: pass\n\n\n"
        """print(f"{f('a')!r:>{9}} it's {x:{y}} {{}} \\n", f'{"b"}' 'c', u"é", b"\\0", 1e400, ..., {**{}, 1: [""]})\n"""
    )
    assert code_stamp(tmp_path / "program.py") == "program.py 594b8d75ae9db4d9\n"
