"""Kill the smoke chain at random moments, run it again each time, and compare its outputs with an undisturbed run's.

Three ways to kill, in turn: Snakemake with all its jobs; Snakemake alone, whose jobs work on; one job alone. Moments
come from --seed. A chain that is complete is compared and begun anew, until --kills or --minutes are reached. Printed
is a table: program, kills while it worked, by way. Exit status 1 where an output differs. Nothing is left behind.

Example: python tests/chaos.py --kills 100 --minutes 40
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/workflow"))
from project import SMOKE, Project, copy_project  # noqa: E402

WAYS = ("all", "snakemake alone", "one job")
# Not compared: what shows times or memory (the drawing of the rules does, too), and a cache.
VOLATILE_FILES = ("benchmarks/", "logs/", "report/", "figures/rulegraph.", "image_cache.sqlite", "state/")
# Of JSON files: what was measured, not computed.
VOLATILE_KEYS = {"seconds", "peak_rss_mb", "peak_gpu_mb", "hardware", "samples_per_second", "step_time"}
VOLATILE_KEYS |= {"train_runtime", "train_samples_per_second", "train_steps_per_second"}


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=40, help="begin no other kill after so long")
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
    expected = digests(calm.folder / "results")
    say(f"undisturbed: {length:.0f} s, {len(expected)} outputs to compare")
    table, different, number, wild = Counter(), 0, 0, None
    deadline = time.monotonic() + 60 * minutes
    while number < kills and time.monotonic() < deadline:
        wild = wild or new_project(folder / f"wild{number}")
        way = WAYS[number % len(WAYS)]
        hit = run_and_kill(wild, way, rng.uniform(2, max(length / 4, 8)))
        if hit is None:  # complete before its time
            different += compare(expected, digests(wild.folder / "results"))
            wild = None
            continue
        number += 1
        table.update((program, way) for program in hit)
        say(f"kill {number} ({way}): {', '.join(sorted(hit)) or 'nothing at work'}")
    if wild:
        unlock(wild)
        wild.snakemake(*SMOKE)
        different += compare(expected, digests(wild.folder / "results"))
    print_table(table)
    say(f"{number} kills in {(time.monotonic() - deadline) / 60 + minutes:.0f} minutes; {different} outputs differ")
    return int(different > 0)


def new_project(folder: Path) -> Project:
    folder.mkdir()
    return copy_project(ROOT, folder)


def run_and_kill(project: Project, way: str, seconds: float) -> set[str] | None:
    """Run the chain, kill it after so many seconds of work; return the programs that worked, None if it completed."""
    unlock(project)
    words = [sys.executable, "-m", "snakemake", "--cores", "2", "--rerun-incomplete", *SMOKE]
    with (project.folder / "chaos.log").open("w") as log:
        run = subprocess.Popen(words, cwd=project.folder, start_new_session=True, stdout=log, stderr=log)
    wait_for(lambda: run.poll() is not None or jobs(project), 60)
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        working = jobs(project)
        programs = {name(job) for job in working}
        if way == "all":
            os.killpg(run.pid, signal.SIGKILL)
        elif way == "snakemake alone":
            run.kill()
        elif working:
            working[0].kill()
        run.wait(300)
        wait_for(lambda: not jobs(project), 300)
        return programs
    if run.returncode:
        raise SystemExit((project.folder / "chaos.log").read_text())
    return None


def jobs(project: Project) -> list[psutil.Process]:
    """Return the programs of the pipeline that work in a project's folder, whoever started them."""
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
            raise SystemExit(f"waited {seconds:.0f} s in vain")
        time.sleep(0.05)


def digests(results: Path) -> dict[str, str]:
    """Return a hash of each output that is the same in every run, by name; of JSON, without what was measured."""
    found = {}
    for path in sorted(results.rglob("*")):
        name = str(path.relative_to(results))
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(results).parts):
            continue
        if any(f"/{volatile}" in f"/{name}" for volatile in VOLATILE_FILES):
            continue
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            lines = content.decode().split("\n") if path.suffix == ".jsonl" else [content.decode()]
            content = json.dumps([without(json.loads(line)) for line in lines if line.strip()]).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def without(value):
    """Return JSON without VOLATILE_KEYS."""
    if isinstance(value, dict):
        return {key: without(item) for key, item in value.items() if key not in VOLATILE_KEYS}
    return [without(item) for item in value] if isinstance(value, list) else value


def compare(expected: dict[str, str], found: dict[str, str]) -> int:
    names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    say(f"complete: {len(expected)} outputs compared, {len(names)} differ")
    for name in names:
        say(f"DIFFERENT: {name}")
    return len(names)


def print_table(table: Counter) -> None:
    say(f"{'program':32s}" + "".join(f"{way:>17s}" for way in WAYS))
    for program in sorted({program for program, _ in table}):
        say(f"{program:32s}" + "".join(f"{table[program, way]:17d}" for way in WAYS))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
