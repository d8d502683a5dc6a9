"""Repositories of the Hugging Face hub, at a pinned commit; HF_HUB_OFFLINE and HF_ENDPOINT hold here too."""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vision_r1.files import UserError
from vision_r1.model_folder import INDEX, SMALL_FILES, WEIGHTS, check_model, check_weights, weight_files


def list_files(repository: str, revision: str | None, kind: str = "model") -> tuple[str, dict[str, int]]:
    """Return a repository's commit, the newest where none is given, and its files with their sizes in bytes.

    kind: model | dataset. Raises UserError naming the repository.
    """
    from huggingface_hub import HfApi

    with _named(repository, revision):
        found = HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)
    return found.sha, {file.rfilename: file.size or 0 for file in found.siblings}


def download(repository: str, revision: str | None, folder: Path, patterns: Sequence[str], kind: str = "model") -> str:
    """Download a repository's files that match, and return its commit; what is in the folder already is kept.

    kind: model | dataset. Without a revision, the newest commit is taken. Raises UserError naming the repository.
    """
    from huggingface_hub import HfApi, snapshot_download

    with _named(repository, revision):
        revision = revision or HfApi().repo_info(repository, repo_type=kind).sha
        snapshot_download(
            repository, repo_type=kind, revision=revision, local_dir=folder, allow_patterns=list(patterns)
        )
    return revision


def fetch_model(repository: str, revision: str | None, output: Path, processor_only: bool = False) -> str:
    """Download what is needed of a model to the folder `output`, whole or not at all, and return its commit.

    Raises UserError, before weights are downloaded, for a model that can't be trained from or predicted with.
    """
    # A name fixed by the commit, kept after a break: a retry goes on with the files that are there, and with no others.
    folder = output.with_name(f".{output.name}.{revision or 'newest'}.download")
    revision = download(repository, revision, folder, [*SMALL_FILES, *([] if processor_only else [INDEX])])
    check_model(folder)
    if not processor_only:
        names = weight_files(folder) if (folder / INDEX).is_file() else [WEIGHTS]
        download(repository, revision, folder, names)
        check_weights(folder, weight_files(folder))
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the download's own notes
    shutil.rmtree(output, ignore_errors=True)
    os.replace(folder, output)
    for left in output.parent.glob(f".{glob.escape(output.name)}.*.download"):  # of other commits
        shutil.rmtree(left)
    return revision


@contextmanager
def _named(repository: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = " ".join(str(error).split())  # on one line
        raise UserError(f"{repository} at {revision or 'its newest commit'}: can't be downloaded: {reason}") from error
