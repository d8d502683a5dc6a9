"""The images of a folder, found by the names that annotations give them."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from vision_r1.data.images import ImageFault, image_suffixes, upright_size
from vision_r1.files import UserError, files_below

UNNAMED = "image files that no annotation names, left out"


class ImageFolder:
    """The image files in a folder and below it; `files` are relative to it, with slashes, in order."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such image folder")
        paths = (path for path in files_below(folder) if path.suffix.lower() in image_suffixes())
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

    def resolve(self, source: Path, meant: Sequence[Sequence[str]], notes: Counter) -> list[str | None]:
        """Return the file of each entry, a list of names that may mean it; None where not just one file matches.

        Raises UserError where two entries find one file, or none finds any. Entries without a file, and files that are
        left over, are counted in `notes`.
        """
        files: list[str | None] = []
        entries: dict[str, str] = {}
        for names, (found, named, elsewhere) in zip(meant, self.find(meant), strict=True):
            file = found[0] if len(found) == 1 else None
            files.append(file)
            if file is None:
                kind = "images whose name several files have" if found else "images that are not in the folder"
                notes[f"{kind}, left out"] += 1
                continue
            if elsewhere and not named.is_absolute() and ":" not in named.parts[0]:
                notes["images found by their name alone, as annotations name another folder"] += 1
            if file in entries:
                raise UserError(
                    f"{source}: {entries[file]!r} and {names[0]!r} are both the image {file}; give them one name (in "
                    "CSV, remove a column that has other folders), or the image folder that has both"
                )
            entries[file] = names[0]
        if meant and not entries:
            raise UserError(f"{source}: none of its {len(meant)} images is in {self.folder}, such as {meant[0][-1]!r}")
        if left := len(set(self.files) - entries.keys()):
            notes[UNNAMED] = left
        return files

    def find(self, meant: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], PurePosixPath, bool]]:
        """Yield of each entry the files that it may mean, its first name, and whether that names another folder."""
        local = [list(map(self._local, names)) for names in meant]
        # The annotations name images of several folders, so a name without its folder could be another image's.
        shared = any(self._inside(names[0]) or self.is_exact(own[0]) for names, own in zip(meant, local, strict=True))
        for names, own in zip(meant, local, strict=True):
            named = PurePosixPath(own[0])
            elsewhere = len(named.parts) > 1 and not self._inside(names[0]) and not self.is_exact(own[0])
            yield self.matches(filter(self.is_exact, own) if shared and elsewhere else own), named, elsewhere

    def _local(self, name: str) -> str:
        """Return a name with slashes, as a/1.jpg where it names the image folder: /data/train/a/1.jpg in .../train."""
        path = PurePosixPath(name.strip().replace("\\", "/"))
        ends = ["/".join(path.parts[at:]) for at in range(1, len(path.parts)) if self._is_own(path.parts[at - 1])]
        return next((end for end in ends if self._known(end)), str(path))

    def _inside(self, name: str) -> bool:
        """Tell whether a name has the image folder's own name before the file's: train/1.jpg in .../train."""
        return self._is_own(PurePosixPath(name.replace("\\", "/")).parent.name)

    def _is_own(self, folder: str) -> bool:
        return folder.casefold() == self.own_name

    def is_exact(self, name: str) -> bool:
        """Tell whether a name has folders and is, up to case and ending, that of a file."""
        return "/" in name and self._known(name)

    def _known(self, name: str) -> bool:
        return any(form in known for form, known in zip(self._forms(name)[:2], self._by_form, strict=False))

    def size(self, file: str, notes: Counter) -> tuple[int, int]:
        """Return the upright size of a file in pixels; 0 x 0, counted in `notes`, where it can't be read."""
        try:
            return upright_size(self.folder / file)
        except ImageFault:
            notes["images that can't be read"] += 1
            return 0, 0

    def _forms(self, name: str) -> tuple[str, str, str, str]:
        """Return a name in the forms by which it is looked for, the strictest first.

        Windows ignores case, and macOS may write a letter and its accent as two characters.
        """
        path = PurePosixPath(unicodedata.normalize("NFC", name).casefold())
        stem = path.with_suffix("") if path.suffix in (*image_suffixes(), ".xml") else path  # img.rf.1f3a has no ending
        return str(path), str(stem), path.name, stem.name
