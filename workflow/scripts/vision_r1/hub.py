"""Repositories of the Hugging Face hub, at a pinned commit. HF_HUB_OFFLINE and HF_ENDPOINT are respected."""

import glob
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vision_r1.exclusive import one_at_a_time
from vision_r1.files import UserError, check_replaceable, seal_folder
from vision_r1.model_folder import INDEX, SMALL_FILES, WEIGHTS, check_processor, check_weights, weight_files
from vision_r1.models import family_of
from vision_r1.text import one_line


def list_files(repository: str, revision: str | None, kind: str = "model") -> tuple[str, dict[str, int]]:
    """Return a repository's commit, the newest where none is given, and its files with their sizes in bytes.

    kind: model | dataset. Raises UserError naming the repository.
    """
    from huggingface_hub import HfApi

    with _named(repository, revision):
        found = HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)
    return found.sha, {file.rfilename: file.size or 0 for file in found.siblings}


def download(repository: str, revision: str, folder: Path, patterns: Sequence[str], kind: str = "model") -> None:
    """Download a repository's files that match `patterns`; files in `folder` are kept.

    revision: a commit; kind: model | dataset. Raises UserError naming the repository.
    """
    from huggingface_hub import snapshot_download

    with _named(repository, revision):
        snapshot_download(
            repository, repo_type=kind, revision=revision, local_dir=folder, allow_patterns=list(patterns)
        )


def fetch_model(
    repository: str, revision: str | None, output: Path, processor_only: bool = False, once: bool = False
) -> str:
    """Download the files of a model that are needed to the folder `output`, all or none, and return its commit.

    once: keep the folder that another process has fetched meanwhile, and may be reading.

    Raises UserError, before weights are downloaded, for a model that can't be trained from or predicted with.
    """
    check_replaceable(output)
    revision = revision or list_files(repository, None)[0]
    with one_at_a_time(output):  # a second process would move files that this one writes
        if not (once and output.is_dir()):
            _fetch_model(repository, revision, output, processor_only)
    return revision


def _fetch_model(repository: str, revision: str, output: Path, processor_only: bool) -> None:
    # Named by the commit and kept after a break: a retry resumes with files of the same commit and no other.
    folder = output.with_name(f".{output.name}.{revision}.download")
    download(repository, revision, folder, [*SMALL_FILES, *([] if processor_only else [INDEX])])
    family_of(folder)
    check_processor(folder)
    if not processor_only:
        names = weight_files(folder) if (folder / INDEX).is_file() else [WEIGHTS]
        download(repository, revision, folder, names)
        check_weights(folder, weight_files(folder))
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the download's own notes
    seal_folder(folder)
    shutil.rmtree(output, ignore_errors=True)
    os.replace(folder, output)
    for left in output.parent.glob(f".{glob.escape(output.name)}.*.download"):  # of other commits
        shutil.rmtree(left)


def check_name(repository: str) -> None:
    """Raise UserError for a name that no repository of a user or an organisation can have."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"{repository}: not a repository name: {one_line(error)}") from None
    if repository.count("/") != 1:
        raise UserError(f"{repository}: not a repository name; give owner/name")


def upload(repository: str, folder: Path, names: Sequence[str], private: bool) -> str:
    """Upload some files of a folder to a model's repository, created if missing; return the commit's address.

    Raises UserError naming the repository; if it should be private but is public, before anything is uploaded.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        HfApi().create_repo(repository, private=private, exist_ok=True)  # one that exists stays as public as it is
        if private and not HfApi().repo_info(repository).private:
            raise UserError(f"{repository}: exists and is public; make it private on the hub, or give another name")
        found = HfApi().upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=[glob.escape(name) for name in names],
            commit_message="Upload the checkpoint and its model card",
        )
    except (HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(f"{repository}: can't be uploaded to: {one_line(error)}; is `hf auth login` done?") from error
    return found.commit_url


@contextmanager
def _named(repository: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        where = f"{repository} at {revision or 'its newest commit'}"
        raise UserError(f"{where}: can't be downloaded: {one_line(error)}") from error
