"""Where the files of data sets lie: functions of the configuration and the run's folder. Nothing is read here.

Data sets of the configuration's section `datasets` have a file of annotations and a folder of images, and some a second
file. Each is a path on this machine, part of an archive that is downloaded, or made by the run.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vision_r1.files import UserError, files_below

DOWNLOADS = "results/downloads"
MADE_HERE = "made here"  # in place of a licence: synthetic scenes
# The kinds of sources by the key that names their annotation file, and the second file of some.
KINDS = {"annotations": "coco", "expressions": "expressions", "regions": "regions", "references": "references"}
SECOND = {"regions": "image_data", "references": "instances"}
KEYS = (*KINDS, *SECOND.values(), "images")

Config = Mapping[str, Any]


def archive_file(config: Config, name: str) -> str:
    """Return the file name of an archive, or of a single JSON file; one put there by hand is verified and used."""
    url = config["archives"][name]["url"]
    return f"{name}.{next((kind for kind in ('tar.gz', 'json') if url.endswith(f'.{kind}')), 'zip')}"


def main_key(config: Config, name: str) -> str:
    """Return the key of a data set's annotation file, one of KINDS."""
    return next((key for key in KINDS if key in config["datasets"][name]), "annotations")


def place(config: Config, folder: str | Path, name: str, key: str) -> str:
    """Return the path of a data set's annotations (or other file, by its key) or folder `images`.

    folder: the run's, in which synthetic scenes and the selection split lie.
    """
    entry = config["datasets"][name]
    if "scenes" in entry:
        return f"{folder}/data/scenes/{name}/{'annotations.json' if key == 'annotations' else 'images'}"
    if "selection" in entry:
        return f"{folder}/data/selection.json" if key == "annotations" else "."
    if "released" in entry:
        return f"{DOWNLOADS}/{name}/{'samples.jsonl' if key == 'annotations' else 'images'}"
    if key == "annotations" and is_converted(config, name):
        return f"{folder}/data/converted/{name}.json"
    return given(config, name, key)


def beside_images(folder: Path) -> list[Path]:
    """Return where Ultralytics looks for the labels of an image folder: its path with the last `images` as `labels`.

    Empty where no folder of the path has that name.
    """
    parts = folder.absolute().parts
    place = next((place for place in range(len(parts) - 1, 0, -1) if parts[place] == "images"), None)
    return [] if place is None else [Path(*parts[:place], "labels", *parts[place + 1 :])]


def states(files: Iterable[str | Path]) -> str:
    """Return a line for each file, sorted: path, size, time of change. Folders and missing files have none.

    Snakemake looks whether an input is newer than an output: it sees no file that was replaced by an older one, and
    none in a folder that was edited.
    """
    about = {os.path.relpath(file): os.stat(file) for file in files if os.path.isfile(file)}
    return "\n".join(f"{path} {about[path].st_size} {about[path].st_mtime_ns}" for path in sorted(about))


def annotation_files(config: Config, name: str) -> list[str]:
    """Return the files of annotations that an entry names on this machine."""
    found = (config["datasets"][name].get(key) for key in KEYS if key != "images")
    return [each for each in found if isinstance(each, str)]


def released_files(config: Config, name: str) -> list[Path]:
    """Return the files in the folder that an entry gives in place of the hub's released training set."""
    folder = config["datasets"][name]["released"].get("folder")
    return list(Path(folder).iterdir()) if folder and Path(folder).is_dir() else []


def label_files(config: Config, name: str) -> list[Path]:
    """Return the label files of a data set in VOC or YOLO form that lies here; they are too many to be inputs."""
    entry = config["datasets"][name]
    suffix = {"voc": ".xml", "yolo": ".txt"}.get(entry.get("format"))
    folders = [Path(entry[key]) for key in ("annotations", "images") if isinstance(entry.get(key), str)]
    folders += [labels for folder in folders for labels in beside_images(folder)]
    found = (path for folder in folders if suffix for path in files_below(folder))
    return [path for path in found if path.suffix.lower() == suffix]


def is_converted(config: Config, name: str) -> bool:
    """Tell whether a data set's annotations are of another form than COCO's: vision_r1.data.formats."""
    return config["datasets"][name].get("format", "coco") != "coco"


def given(config: Config, name: str, key: str) -> str:
    """Return the path that an entry gives under `key`, on this machine or among what is downloaded."""
    found = config["datasets"][name][key]
    if isinstance(found, str):
        return found
    if "path" not in found:
        return f"{DOWNLOADS}/{archive_file(config, found['archive'])}"
    return f"{DOWNLOADS}/{found['archive']}/{found['path']}"


def source_files(config: Config, folder: str | Path, name: str) -> list[str]:
    """Return the files that a data set is made of; in place of what is in an archive, the archive's manifest."""
    entry = config["datasets"][name]
    if {"scenes", "selection", "released"} & entry.keys():
        keys = ["annotations"] if "selection" in entry else ["annotations", "images"]
        return [place(config, folder, name, key) for key in keys]
    if is_converted(config, name):
        return [place(config, folder, name, "annotations"), *given_files(config, name, ["images"])]
    return given_files(config, name, KEYS)


def given_files(config: Config, name: str, keys: Iterable[str]) -> list[str]:
    """Return the files that an entry gives under `keys`, as source_files does."""
    entry = config["datasets"][name]
    found = [entry[key] for key in keys if key in entry]
    return list(dict.fromkeys(each if isinstance(each, str) else manifest(each["archive"]) for each in found))


def ready_files(config: Config, folder: str | Path, names: Iterable[str]) -> list[str]:
    """Return what must exist before data sets can be read: their files, and the mark that these were checked."""
    marked = [name for name in names if not {"scenes", "selection"} & config["datasets"][name].keys()]
    marks = [f"{folder}/data/checked/{name}.json" for name in marked]
    return sorted({*marks, *(file for name in names for file in source_files(config, folder, name))})


def manifest(archive: str) -> str:
    """Return the file that says that an archive was unpacked whole."""
    return f"{DOWNLOADS}/{archive}.json"


def unpacked_archives(config: Config, names: Iterable[str]) -> list[str]:
    """Return the archives, each once, in which files of data sets lie."""
    found = [config["datasets"][name].get(key) for name in names for key in KEYS]
    return list(dict.fromkeys(each["archive"] for each in found if isinstance(each, Mapping) and "path" in each))


def is_local(config: Config, name: str) -> bool:
    """Tell whether nothing of a data set is downloaded."""
    entry = config["datasets"][name]
    return "released" not in entry and all(isinstance(entry.get(key, ""), str) for key in KEYS)


def licences(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Return data set -> its licence, or that of the archive with its annotations; without those that state none."""
    found = {}
    for name in names:
        entry = config["datasets"][name]
        file = entry.get(main_key(config, name))
        archive = config["archives"][file["archive"]] if isinstance(file, Mapping) else {}
        found[name] = MADE_HERE if "scenes" in entry else entry.get("licence", archive.get("licence"))
    return {name: text for name, text in found.items() if text}


def check_exist(config: Config, names: Iterable[str]) -> None:
    """Raise UserError, naming the key, where a data set's path on this machine doesn't exist."""
    for name in names:
        for key in KEYS:
            found = config["datasets"][name].get(key)
            if isinstance(found, str) and not Path(found).exists():
                where = "" if Path(found).is_absolute() else f" in {Path.cwd()}"
                raise UserError(
                    f"config: datasets.{name}.{key}: no such path {found!r}{where}; name annotations and image folder"
                )
