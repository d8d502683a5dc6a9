"""Small archives of pictures for tests."""

import io
import tarfile
import zipfile

from PIL import Image

from vision_r1.data.scenes import draw_scenes
from vision_r1.data.worlds import WORLDS


def pictures(seed):
    return [Image.fromarray(scene.image) for scene in draw_scenes(WORLDS["miniature"].plain, 12, seed)]


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def tarred(files):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()
