"""Where this workflow lies: in the working folder, in another one, or at a git address as a module."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from snakemake.sourcecache import HostingProviderFile, LocalGitFile, LocalSourceFile


def git(*words):
    """Return what git prints."""
    done = subprocess.run(["git", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: git {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout.strip()


def cloned(repository, reference, folder):
    """Return a clone of a commit, below `folder`: programs import the package, so Snakemake's copies of single files won't do."""
    commit = git("-C", repository, "rev-parse", "--verify", f"{reference}^{{commit}}")
    if not (folder / commit).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            git("clone", "--quiet", "--no-checkout", repository, f"{partial}/clone")
            git("-C", f"{partial}/clone", "checkout", "--quiet", commit)
            os.rename(f"{partial}/clone", folder / commit)
    return folder / commit


def source_folder():
    """Return the workflow's folder as seen from the working folder: `.`, or else a link in `.snakemake/workflows`.

    Snakemake runs a job again when its command has changed. Commands name the link, so they stay the same where the
    workflow moves, or another version of it is asked for: then code stamps tell which jobs are due.
    """
    rules = workflow.current_basedir
    if any(brace in str(rules) for brace in "{}"):
        sys.exit(f"error: {rules}: Snakemake takes braces in a path for wildcards; move the workflow elsewhere")
    folder = Path(".snakemake/workflows")
    link = folder / (workflow.modifier.namespace or "vision_r1")
    if isinstance(rules, LocalSourceFile):
        source = Path(rules.get_path_or_uri(secret_free=True)).resolve().parent
        if source.samefile("."):
            return Path(".")
    elif not workflow.is_main_process:  # a job: the process that started it has made the link
        return link
    elif isinstance(rules, LocalGitFile):
        source = cloned(rules.repo_path, rules.ref, folder)
    elif isinstance(rules, HostingProviderFile):
        source = cloned(rules.hosted_repo.repo_clone, rules.ref, folder)
    else:
        sys.exit(f"error: {rules}: give a clone's Snakefile, or github(...), gitlab(...) or git+file://...@<commit>")
    if workflow.is_main_process and not (link.is_symlink() and link.resolve() == source.resolve()):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            os.symlink(source.resolve(), f"{partial}/link")
            os.replace(f"{partial}/link", link)
    return link


SOURCE = source_folder()
SCRIPTS = SOURCE / "workflow/scripts"
if str(SCRIPTS.resolve()) not in sys.path:
    sys.path.insert(0, str(SCRIPTS.resolve()))
