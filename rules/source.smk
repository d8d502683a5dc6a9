"""Where this workflow lies, and its configuration: in its own folder, in another one, or as a module of a workflow."""

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from snakemake.sourcecache import HostingProviderFile, LocalGitFile, LocalSourceFile
from snakemake.utils import update_config


def git(*words):
    """Return what git prints."""
    done = subprocess.run(["git", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"error: git {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout.strip()


def cloned(repository, reference, folder):
    """Return a clone of a commit, below `folder`: programs import each other, so Snakemake's copies of files won't do."""
    commit = git("-C", repository, "rev-parse", "--verify", f"{reference}^{{commit}}")
    if not (folder / commit).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            git("clone", "--quiet", "--no-checkout", repository, f"{partial}/clone")
            git("-C", f"{partial}/clone", "checkout", "--quiet", commit)
            os.rename(f"{partial}/clone", folder / commit)
    return folder / commit


def source_folder():
    """Return the workflow's folder as seen from the working folder: `.`, or else a link to it below `.snakemake`.

    Snakemake runs a job again when its command has changed. Commands name the link, so they stay the same where the
    workflow moves, or another version of it is asked for: then code stamps tell which jobs are due.
    """
    rules = workflow.current_basedir
    link = Path(".snakemake") / (workflow.modifier.namespace or "vision_r1")
    if isinstance(rules, LocalSourceFile):
        source = Path(rules.get_path_or_uri(secret_free=True)).resolve().parent
        if source.samefile("."):
            return Path(".")
    elif not workflow.is_main_process:  # a job: the process that started it has made the link
        return link
    elif isinstance(rules, LocalGitFile):
        source = cloned(rules.repo_path, rules.ref, Path(".snakemake/vision_r1_versions"))
    elif isinstance(rules, HostingProviderFile):
        source = cloned(rules.hosted_repo.repo_clone, rules.ref, Path(".snakemake/vision_r1_versions"))
    else:
        sys.exit(f"error: {rules}: give a clone's Snakefile, or github(...), gitlab(...) or git+file://...@<commit>")
    if workflow.is_main_process and not (link.is_symlink() and link.resolve() == source.resolve()):
        link.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=link.parent) as partial:
            os.symlink(source.resolve(), f"{partial}/link")
            os.replace(f"{partial}/link", link)
    return link


SOURCE = source_folder()
SCRIPTS = SOURCE / "workflow/scripts"
sys.path.insert(0, str(SCRIPTS.resolve()))

from vision_r1 import configuration
from vision_r1.files import UserError

# Later ones win: our defaults; the same files in a working folder of its own; what is asked for with --configfile and
# --config, or handed to a module, which reads nothing of the working folder: that is its user's.
DEFAULTS = [SOURCE / file for file in configuration.DEFAULT]
if workflow.modifier.is_main_snakefile() and SOURCE != Path("."):
    DEFAULTS += [file for file in configuration.DEFAULT if os.path.exists(file)]
asked = copy.deepcopy(config)
try:
    update_config(config, configuration.load(DEFAULTS))
except UserError as error:
    sys.exit(f"error: {error}")
update_config(config, asked)
workflow.configfiles.extend(map(str, DEFAULTS))  # as `configfile:` does: Snakemake names them in its report

if SOURCE != Path("."):
    # What accelerate reads lies beside the defaults, unless the working folder has a file of that name.
    for words in (config["compute"]["launch"], config["compute"]["launch_predict"]):
        words[:] = [str(SOURCE / word) if not Path(word).exists() and (SOURCE / word).is_file() else word for word in words]
