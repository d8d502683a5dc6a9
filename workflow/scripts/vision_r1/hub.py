"""Repositories of the Hugging Face hub, at a pinned commit; HF_HUB_OFFLINE and HF_ENDPOINT hold here too."""

from collections.abc import Sequence
from pathlib import Path

from vision_r1.files import UserError


def download(repository: str, revision: str | None, folder: Path, patterns: Sequence[str], kind: str = "model") -> str:
    """Download a repository's files that match, and return its commit; what is in the folder already is kept.

    kind: model | dataset. Without a revision, the newest commit is taken. Raises UserError naming the repository.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        revision = revision or HfApi().repo_info(repository, repo_type=kind).sha
        snapshot_download(
            repository, repo_type=kind, revision=revision, local_dir=folder, allow_patterns=list(patterns)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise UserError(f"{repository} at {revision}: can't be downloaded: {error}") from error
    return revision
