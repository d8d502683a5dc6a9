"""The images of a folder, found by the names that annotations give them."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from vision_r1.data.images import FORMATS, ImageFault, upright_size
from vision_r1.files import UserError, files_below

UNNAMED = "image files that no annotation names, left out"


class ImageFolder:
    """The image files in a folder and below it; `files` are relative to it, with slashes, in order."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such image folder")
        self.endings = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
        paths = (path for path in files_below(folder) if path.suffix.lower() in self.endings and path.is_file())
        self.folder, self.own_name = folder, folder.resolve().name.casefold()
        self.files = sorted(path.relative_to(folder).as_posix() for path in paths)
        if not self.files:
            raise UserError(f"{folder}: no images in it")
        self._by_form: list[dict[str, list[str]]] = [{} for _ in range(4)]
        for file in self.files:
            for form, known in zip(self._forms(file), self._by_form, strict=True):
                known.setdefault(form, []).append(file)

    def matches(self, names: Iterable[str]) -> Sequence[str]:
        """Return the one file that the names mean, the first that matches; all where several may be meant, or none.

        A name may have backslashes, another ending, or folders of the machine where it was written.
        """
        several: Sequence[str] = ()
        for name in filter(None, (name.strip().replace("\\", "/") for name in names)):
            for form, known in zip(self._forms(name), self._by_form, strict=True):
                found = known.get(form, ())
                if len(found) == 1:
                    return found
                several = several or found
        return several

    def resolve(self, source: Path, meant: Sequence[Sequence[str]], notes: Counter) -> list[str]:
        """Return the file of each entry, a list of names that may mean it; its last name where no file matches, behind
        the first one's folder where the annotations name several folders.

        Raises UserError where two entries find one file, or none finds any. Files that are left over are counted in
        `notes`.
        """
        files: dict[str, str] = {}
        places = [PurePosixPath(names[0].strip().replace("\\", "/")) for names in meant]
        # The annotations name images of several folders, so a name without its folder could be another image's.
        shared = any(self._inside(named) or len(named.parts) > 1 and self._exact(named) for named in places)
        for names, named in zip(meant, places, strict=True):
            elsewhere = len(named.parts) > 1 and not self._inside(named) and not self._exact(named)
            found = () if shared and elsewhere else self.matches(names)
            file = found[0] if len(found) == 1 else None
            if file is None:
                kind = "images whose name several files have" if found else "images that are not in the folder"
                notes[kind] += 1
                file = names[-1].replace("\\", "/")
                file = str(named.parent / PurePosixPath(file).name) if shared and elsewhere else file
            elif elsewhere and not named.is_absolute() and ":" not in named.parts[0]:
                notes["images found by their name alone, as annotations name another folder"] += 1
            if file in files:
                raise UserError(f"{source}: {files[file]!r} and {names[0]!r} are both the image {file}")
            files[file] = names[0]
        if meant and not files.keys() & set(self.files):
            raise UserError(f"{source}: none of its {len(meant)} images is in {self.folder}, such as {meant[0][-1]!r}")
        if left := len(set(self.files) - files.keys()):
            notes[UNNAMED] = left
        return list(files)

    def _inside(self, named: PurePosixPath) -> bool:
        """Tell whether a name has the image folder's own name before the file's: train/1.jpg in .../train."""
        return named.parent.name.casefold() == self.own_name

    def _exact(self, named: PurePosixPath) -> bool:
        """Tell whether a name with its folders, up to case and ending, is that of a file."""
        return any(form in known for form, known in zip(self._forms(str(named))[:2], self._by_form, strict=False))

    def size(self, file: str, notes: Counter) -> tuple[int, int]:
        """Return the upright size of a file in pixels; 0 x 0, counted in `notes`, where it can't be read."""
        path = self.folder / file
        if not path.is_file():
            return 0, 0
        try:
            return upright_size(path)
        except ImageFault:
            notes["images that can't be read"] += 1
            return 0, 0

    def _forms(self, name: str) -> tuple[str, str, str, str]:
        """Return a name in the forms by which it is looked for, the strictest first.

        Windows ignores case, and macOS may write a letter and its accent as two characters.
        """
        path = PurePosixPath(unicodedata.normalize("NFC", name).casefold())
        stem = path.with_suffix("") if path.suffix in (*self.endings, ".xml") else path  # img.rf.1f3a has no ending
        return str(path), str(stem), path.name, stem.name
