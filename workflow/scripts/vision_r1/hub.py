"""Repositories of the Hugging Face hub, at a pinned commit; HF_HUB_OFFLINE and HF_ENDPOINT hold here too."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vision_r1.files import UserError


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


@contextmanager
def _named(repository: str, revision: str | None) -> Iterator[None]:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(f"{repository} at {revision or 'its newest commit'}: can't be downloaded: {error}") from error
