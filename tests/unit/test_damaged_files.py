"""Archives and images with randomly changed bytes are read or refused in one line; no other exception escapes."""

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vision_r1.data.archives import unpack
from vision_r1.data.image_index import examine
from vision_r1.files import UserError

changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8)
patiently = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def changed(content, places):
    content = bytearray(content)
    for place, value in places:
        content[place % len(content)] = value
    return bytes(content)


def archived(form):
    content = io.BytesIO()
    if form in ("stored", "deflated", "lzma"):
        method = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA}[form]
        with zipfile.ZipFile(content, "w", method) as file:
            for name in ("a/1.json", "ü.txt"):
                file.writestr(name, b"text " * 20)
    else:
        with tarfile.open(fileobj=content, mode=form, format=tarfile.PAX_FORMAT) as file:
            for name in ("a/1.json", "ü.txt", "b" * 120):
                member = tarfile.TarInfo(name)
                member.size = 100
                file.addfile(member, io.BytesIO(b"text " * 20))
    return content.getvalue()


@pytest.mark.parametrize("form", ["stored", "deflated", "lzma", "w", "w:gz", "w:bz2", "w:xz"])
@patiently
@given(places=changes)
def test_archives(form, places):
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "inner/archive"
        archive.parent.mkdir()
        archive.write_bytes(changed(archived(form), places))
        try:
            unpack(archive, archive.with_name("out"), max_bytes=10_000, max_files=10)
        except UserError as error:
            assert "\n" not in str(error) and not archive.with_name("out").exists()
        assert [path.name for path in Path(folder).iterdir()] == ["inner"]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.filterwarnings("ignore")
@patiently
@given(places=changes)
def test_images(form, places):
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.linear_gradient("L").resize((20, 30)).convert("RGB")
    image.save(content, form, **({"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
    damaged = changed(content.getvalue(), places)
    facts = examine(damaged, "")
    assert facts == examine(damaged, "")
    assert facts.fault is None or (facts.fault.startswith("unreadable: ") and "\n" not in facts.fault)
