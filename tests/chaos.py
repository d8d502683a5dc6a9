"""Kill the smoke chain at random moments, run it again each time, and compare its outputs with an undisturbed run's.

It kills in three ways, in turn: Snakemake with all its jobs, Snakemake alone (its jobs keep running), or one job alone.
The moments depend on --seed. When a chain is complete, its outputs are compared and a new one is started, until --kills
or --minutes is reached. Each kill is logged to standard error. Standard output gets a table of the kills, by the
program that was running and by way of killing. The exit status is 1 if any output differs. Temporary files are removed.

Example: python tests/chaos.py --kills 100 --minutes 40 > benchmarks/results/chaos.txt
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/workflow"))
from comparable import compared, digests  # noqa: E402
from project import SMOKE, Project, copy_project  # noqa: E402

WAYS = ("all", "snakemake alone", "one job")
HANG = 1800  # seconds after which something must be wrong, even on the slowest machine


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=40, help="time after which no run is killed any more")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="chaos_") as folder:
        sys.exit(chaos(Path(folder), args.kills, args.minutes, random.Random(args.seed)))


def chaos(folder: Path, kills: int, minutes: float, rng: random.Random) -> int:
    """Return how many outputs differed from the undisturbed run's."""
    calm = new_project(folder / "calm")
    began = time.monotonic()
    calm.snakemake(*SMOKE)
    length = time.monotonic() - began
    outputs = len(digests(calm.folder / "results"))
    progress(f"undisturbed: {length:.0f} s, {outputs} outputs to compare")
    table, different, number, complete, wild = Counter(), 0, 0, 0, None
    began = time.monotonic()

    def minute() -> float:
        return (time.monotonic() - began) / 60

    while number < kills and minute() < minutes:
        wild = wild or new_project(folder / f"wild{number}")
        way = WAYS[number % len(WAYS)]
        # Long enough for every program to finish now and then, including the base model's training.
        hit = run_and_kill(wild, way, rng.uniform(1, max(length / 4, 8)))
        if hit is None:  # the chain was complete before it could be killed
            different += compare(calm, wild)
            complete, wild = complete + 1, None
            continue
        number += 1
        table.update((program, way) for program in hit or {"(between two jobs)"})
        progress(f"kill {number} ({way}), minute {minute():.1f}: {', '.join(sorted(hit)) or 'between two jobs'}")
    if wild:
        unlock(wild)
        wild.snakemake(*SMOKE)
        complete += 1
        different += compare(calm, wild)
    print_table(table)
    say(f"The undisturbed run: {length:.0f} s, {outputs} outputs. Complete and compared: {complete} others.")
    say(f"{number} kills in {minute():.0f} minutes; {different} outputs differ")
    return int(different > 0)


def new_project(folder: Path) -> Project:
    folder.mkdir()
    return copy_project(ROOT, folder)


def run_and_kill(project: Project, way: str, seconds: float) -> set[str] | None:
    """Run the chain, kill it after so many seconds; return the programs that were running, None if it completed."""
    unlock(project)
    words = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", *SMOKE]
    with (project.folder / "chaos.log").open("w") as log:
        run = subprocess.Popen(words, cwd=project.folder, start_new_session=True, stdout=log, stderr=log)
    wait_for(lambda: run.poll() is not None or jobs(project), HANG)
    with suppress(subprocess.TimeoutExpired):
        run.wait(seconds)
    if way == "one job":  # wait for one: between two jobs none is running
        wait_for(lambda: run.poll() is not None or jobs(project), HANG)
    if run.poll() is None:
        working = jobs(project)
        programs = {name(job) for job in working}
        if way == "all":
            os.killpg(run.pid, signal.SIGKILL)
        elif way == "snakemake alone":
            run.kill()
        elif working:
            with suppress(psutil.NoSuchProcess):
                working[0].kill()
        run.wait(HANG)
        wait_for(lambda: not jobs(project), HANG)
        return programs
    if run.returncode:
        raise SystemExit((project.folder / "chaos.log").read_text())
    return None


def jobs(project: Project) -> list[psutil.Process]:
    """Return the pipeline's programs that are running in a project's folder, whoever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if any("workflow/scripts/" in word for word in words[1:2]) and process.cwd() == str(project.folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def name(job: psutil.Process) -> str:
    try:
        return Path(job.cmdline()[1]).name
    except (psutil.NoSuchProcess, IndexError):
        return "ended"


def unlock(project: Project) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [sys.executable, "workflow/scripts/unlock_run.py"]
    subprocess.run(words, cwd=project.folder, env=environment, check=True, stderr=subprocess.DEVNULL)


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting after {seconds:.0f} s")
        time.sleep(0.05)


def compare(calm: Project, wild: Project) -> int:
    """Return how many outputs differ; print their names and the first lines of the difference."""
    folders = [project.folder / "results" for project in (calm, wild)]
    expected, found = map(digests, folders)
    names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    progress(f"complete: {len(expected)} outputs compared, {len(names)} differ")
    for name in names:
        texts = [
            compared(folder, name).decode(errors="replace").splitlines() if (folder / name).is_file() else []
            for folder in folders
        ]
        progress(f"DIFFERENT: {name}")
        for line in list(unified_diff(*texts, lineterm="", n=0))[3:9]:
            progress(f"    {line[:300]}")
    return len(names)


def print_table(table: Counter) -> None:
    say(f"{'program at work':32s}" + "".join(f"{way:>17s}" for way in WAYS))
    for program in sorted({program for program, _ in table}):
        say(f"{program:32s}" + "".join(f"{table[program, way]:17d}" for way in WAYS))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def progress(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
