import io
import re
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from vision_r1.data import images as module
from vision_r1.data.image_index import dhash, examine, index_images
from vision_r1.data.images import ImageFault, load_image, load_small, upright_size
from vision_r1.files import UserError

PIXELS = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)
BLOCKS = Image.fromarray(PIXELS[::20, ::20]).resize((60, 40), Image.Resampling.NEAREST)


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    content.seek(0)
    return content


def difference(content):
    return np.abs(np.asarray(load_image(content), int) - np.asarray(BLOCKS, int)).mean()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_plain_images(kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    assert difference(saved(BLOCKS, kind, **options)) < (8 if kind == "JPEG" else 1e-6)


def test_cmyk_grey_and_palette():
    assert difference(saved(BLOCKS.convert("CMYK"), "JPEG", quality=95)) < 8
    grey = load_image(saved(BLOCKS.convert("L"), "JPEG", quality=100))
    assert grey.mode == "RGB" and np.abs(np.asarray(grey, int) - np.asarray(BLOCKS.convert("L"))[..., None]).mean() < 2
    assert difference(saved(BLOCKS.quantize(64), "PNG")) < 3


def test_an_image_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = BLOCKS.transpose(Image.Transpose.ROTATE_90)
    assert load_image(saved(turned, "JPEG", exif=exif)).size == BLOCKS.size
    assert difference(saved(turned, "JPEG", exif=exif, quality=95)) < 8


def test_transparent_parts_are_white():
    image = BLOCKS.convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[0, 128, 255]], 40, 0).repeat(20, 1).astype(np.uint8)))
    shown = np.asarray(load_image(saved(image, "PNG")), float)
    plain = np.asarray(BLOCKS, float)
    assert (shown[:, :20] == 255).all() and (shown[:, 40:] == plain[:, 40:]).all()
    assert np.abs(shown[:, 20:40] - (plain[:, 20:40] + 255) / 2).max() <= 2
    palette = BLOCKS.quantize(4)
    palette.info["transparency"] = 0
    assert load_image(saved(palette, "PNG", transparency=0)).mode == "RGB"


def test_16_bits_are_scaled_not_clipped():
    deep = Image.fromarray(np.linspace(0, 65535, 60).round().astype(np.uint16)[None].repeat(40, 0))
    shown = np.asarray(load_image(saved(deep, "PNG")))
    assert shown.shape == (40, 60, 3)
    assert np.abs(shown[0, :, 0] - np.linspace(0, 255, 60)).max() <= 1


def test_too_large_images_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(ImageFault, match="60 x 40 pixels, more than 2,399"):
        load_image(saved(BLOCKS, "PNG"))


def test_damaged_images_raise_image_faults():
    whole = saved(Image.fromarray(PIXELS), "JPEG").getvalue()
    contents = (
        whole[: len(whole) // 2],
        b"no image",
        b"",
        b"GIF89a" + b"\xff" * 20,
        b"II*\0" + b"\x08\0\0\0" + b"\xff" * 99,
    )
    for content in contents:
        with pytest.raises(ImageFault):
            load_image(io.BytesIO(content))
        fault = examine(content, "").fault
        assert fault.startswith("unreadable: ") and "0x" not in fault and fault == examine(content, "").fault


FORMS = [{}, {"progressive": True}, {"subsampling": 0}, {"mode": "L"}, {"mode": "CMYK"}, {"restart_marker_blocks": 4}]


@pytest.mark.parametrize("form", FORMS, ids=str)
@settings(deadline=None)
@given(cut=st.integers(0, 4000), changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3))
@example(cut=0, changes=[])
@example(cut=2, changes=[])
def test_a_small_copy_has_the_size_and_the_faults_of_the_whole_image(form, cut, changes):
    """A JPEG whose end is missing, or whose bytes were changed."""
    options = dict(form)
    image = Image.radial_gradient("L").resize((331, 320)).convert(options.pop("mode", "RGB"))
    content = bytearray(saved(image, "JPEG", **options).getvalue())
    content = content[: len(content) - cut % len(content)]
    for place, value in changes:
        content[place % len(content)] = value
    try:
        expected = load_image(io.BytesIO(content)).size
    except ImageFault as fault:
        with pytest.raises(ImageFault, match=re.escape(str(fault))):
            load_small(io.BytesIO(content))
    else:
        small, size, _ = load_small(io.BytesIO(content))
        assert size == expected
        assert changes or cut or small.size == (166, 160)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_small_copy_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = BLOCKS.resize((900, 600), Image.Resampling.NEAREST)
    content = saved(image, "JPEG", exif=exif, quality=95)
    small, size, found = load_small(content)
    whole = load_image(content)
    assert size == whole.size and found == orientation and min(small.size) == 150
    assert np.abs(np.asarray(small, int) - np.asarray(whole.resize(small.size, Image.Resampling.BOX), int)).mean() < 2


def test_other_formats_and_small_images_are_loaded_at_full_size():
    for content in (saved(BLOCKS, "JPEG"), saved(BLOCKS.resize((600, 400)), "PNG")):
        assert np.array_equal(load_small(content)[0], load_image(content))


def test_any_error_in_a_decoder_is_a_fault_that_names_the_file(tmp_path, monkeypatch):
    BLOCKS.save(tmp_path / "odd.png")
    for error in (TypeError("a bytes-like object is required"), KeyError(3), IndexError(), ZeroDivisionError("x")):

        def load(image, error=error):
            raise error

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
        with pytest.raises(ImageFault, match=r"odd\.png: not a readable image \(.+\)"):
            load_image(tmp_path / "odd.png")
        assert examine((tmp_path / "odd.png").read_bytes(), "").fault.startswith("unreadable: ")


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(ImageFault, match=r"gone\.png: not a readable image \(No such file or directory\)"):
        load_image(tmp_path / "gone.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_upright(tmp_path, orientation):
    """Pillow turns TIFF files itself, and no others."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for ending in ("tif", "png"):
        BLOCKS.save(tmp_path / f"1.{ending}", exif=exif)
        upright = (40, 60) if orientation >= 5 else (60, 40)
        assert upright_size(tmp_path / f"1.{ending}") == load_image(tmp_path / f"1.{ending}").size == upright


def test_only_the_orientation_is_read_from_exif_data():
    """Phones and editors write other tags with types that no writer accepts, or data that isn't EXIF at all."""
    content = saved(BLOCKS, "JPEG").getvalue()
    # Orientation 6, and a resolution as text, which should be a fraction.
    tiff = b"MM\0*\0\0\0\x08\0\2\x01\x12\0\3\0\0\0\1\0\6\0\0\x01\x1a\0\2\0\0\0\x04300\0\0\0\0\0"
    marker = b"Exif\0\0" + tiff
    odd = content[:2] + b"\xff\xe1" + (len(marker) + 2).to_bytes(2, "big") + marker + content[2:]
    assert load_image(io.BytesIO(odd)).size == (40, 60)
    broken = odd.replace(b"MM\0*", b"junk")
    assert load_image(io.BytesIO(broken)).size == (60, 40) and examine(broken, "").orientation == 1
    strange = odd.replace(b"\0\1\0\6", b"\0\1\0\x63")  # an orientation of 99
    assert load_image(io.BytesIO(strange)).size == (60, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(BLOCKS, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(content))
    facts = examine(content.getvalue(), "")
    assert np.array_equal(load_image(content), expected) and facts.orientation == orientation
    assert facts.turned_in_place == (orientation > 1 and expected.size == BLOCKS.size)


@pytest.mark.parametrize("kind", ["F", "I"])
def test_pixel_formats_without_a_known_white_are_a_fault(kind):
    """Pillow would clip them: values in 0..1 would all be black, large integers all white."""
    deep = Image.fromarray(np.linspace(0, 1, 60, dtype=np.float32)[None].repeat(40, 0))
    if kind == "I":
        deep = Image.fromarray((np.asarray(deep) * 2e9).astype(np.int32))
    with pytest.raises(ImageFault, match="32 bits a channel"):
        load_image(saved(deep, "TIFF"))


def test_a_16_bit_ppm_is_scaled():
    numbers = np.linspace(0, 65535, 60).round().astype(">u2")
    content = b"P5 60 1 65535\n" + numbers.tobytes()
    assert np.abs(np.asarray(load_image(io.BytesIO(content)))[0, :, 0] - np.linspace(0, 255, 60)).max() <= 1


def test_postscript_is_refused_whatever_its_name(tmp_path, monkeypatch):
    (tmp_path / "1.jpg").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 84 84\n%%EndComments\nshowpage\n", encoding="ascii"
    )
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("Ghostscript was started"))
    with pytest.raises(ImageFault, match=r"1\.jpg: not a readable image \(none of JPEG, PNG, "):
        load_image(tmp_path / "1.jpg")


def test_only_copies_have_similar_hashes():
    def distance(image):
        return (int(dhash(image), 16) ^ int(dhash(BLOCKS), 16)).bit_count()

    assert len(dhash(BLOCKS)) == 64
    assert distance(load_image(saved(BLOCKS, "JPEG", quality=40))) <= 10
    assert distance(BLOCKS.resize((120, 80))) <= 10
    assert distance(BLOCKS.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 20


@pytest.fixture
def files(tmp_path):
    BLOCKS.save(tmp_path / "a.png")
    (tmp_path / "same.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-60])
    (tmp_path / "folder.png").mkdir()
    return [str(tmp_path / name) for name in ("a.png", "gone.png", "cut.png", "same.png", "folder.png")]


def test_the_index_is_in_order_and_names_faults(files, tmp_path):
    one, gone, cut, same, folder = index_images(files, tmp_path / "cache/facts.sqlite", workers=2)
    assert (one.width, one.height, one.fault, one.dhash) == (60, 40, None, dhash(BLOCKS))
    assert one == same
    assert gone.fault == "missing" and cut.fault.startswith("unreadable: ") and folder.fault.startswith("unreadable: ")


def test_an_image_is_examined_once(files, tmp_path, monkeypatch):
    cache = tmp_path / "facts.sqlite"
    first = list(index_images(files, cache, workers=1))

    def never(content, sha256):
        raise AssertionError

    # The pool's processes are forked from this process, so they have what is patched here.
    forked = partial(ProcessPoolExecutor, mp_context=get_context("fork"))
    monkeypatch.setattr("vision_r1.data.image_index.ProcessPoolExecutor", forked)
    monkeypatch.setattr("vision_r1.data.image_index.examine", never)
    (tmp_path / "moved.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert list(index_images([*files, str(tmp_path / "moved.png")], cache, workers=1)) == [*first, first[0]]
    monkeypatch.setattr("PIL.__version__", "another")
    with pytest.raises(AssertionError):
        list(index_images(files, cache, workers=1))


def test_an_invalid_cache_is_named(files, tmp_path):
    (tmp_path / "facts.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match=r"facts\.sqlite: not a cache of images .*; give another --cache, or delete it"):
        list(index_images(files, tmp_path / "facts.sqlite", workers=1))


def test_without_a_cache_that_can_be_written_all_images_are_decoded(files, tmp_path, caplog):
    (tmp_path / "file").touch()
    for cache in (tmp_path, tmp_path / "file/facts.sqlite"):
        found = list(index_images(files, cache, 1))
        assert found == list(index_images(files, tmp_path / "facts.sqlite", 1))
    assert f"{tmp_path}: can't be used, so every image is decoded: unable to open database file" in caplog.text
    assert "file/facts.sqlite: can't be used" in caplog.text
