import io

import numpy as np
import pytest
from PIL import Image

from vision_r1.data import images as module
from vision_r1.data.images import FAULTS, dhash, index_images, load_image

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


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(module, "MAX_PIXELS", 60 * 40 - 1)
    with pytest.raises(ValueError, match="60 x 40 pixels, more than 2,399"):
        load_image(saved(BLOCKS, "PNG"))


def test_damaged_images_are_faults(tmp_path):
    whole = saved(Image.fromarray(PIXELS), "JPEG").getvalue()
    for content in (whole[: len(whole) // 2], b"no image", b"", b"GIF89a" + b"\xff" * 20):
        with pytest.raises(FAULTS):
            load_image(io.BytesIO(content))


def test_copies_have_like_hashes_and_others_have_not():
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

    monkeypatch.setattr(module, "examine", never)  # the pool's processes are forked from this one
    (tmp_path / "moved.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert list(index_images([*files, str(tmp_path / "moved.png")], cache, workers=1)) == [*first, first[0]]
