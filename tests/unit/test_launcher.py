"""The launcher of jobs: the lock, GPUs of a plain machine, the command on the nodes of a cluster."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from vision_r1.files import UserError
from vision_r1.launcher import devices, lock, slurm


@pytest.fixture
def launch(root, tmp_path):
    """Return a function that starts launch_job.py with a command, on a machine with the fake GPUs 0 to 2."""
    started = []

    def start(*words, **environment):
        started.append(
            subprocess.Popen(
                [sys.executable, root / "workflow/scripts/launch_job.py", *words],
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "0,1,2", "TMPDIR": str(tmp_path), **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def hold(launch, *words):
    """Start a job that keeps its GPUs until its process ends; return it and the GPUs that it sees."""
    process = launch(*words, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 60")
    return process, process.stdout.readline().strip()


def test_every_job_gets_its_own_gpus(launch):
    first, seen_first = hold(launch, "--gpus", "1")
    second, seen_second = hold(launch, "--gpus", "2")
    none, seen_none = hold(launch)
    assert (seen_first, seen_second, seen_none) == ("0", "1,2", "")
    third = launch("--gpus", "2", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(3)
    first.kill()  # one GPU is free now; the third job takes it and waits for another
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(3)
    second.kill()
    assert third.communicate(timeout=30)[0] in ("0,1\n", "0,2\n")


def test_too_many_gpus_are_reported_in_one_line(launch):
    process = launch("--gpus", "4", "--", "true")
    assert "error: --gpus 4: this machine shows 3 (0, 1, 2)" in process.communicate(timeout=30)[1]
    assert process.returncode == 1


def test_locks_are_where_nobody_else_can_write(launch, tmp_path):
    place = tmp_path / f"vision_r1_gpus_{os.getuid()}"
    precious = tmp_path / "precious"
    precious.write_text("kept")
    place.mkdir()
    place.chmod(0o777)
    process = launch("--gpus", "1", "--", "true")
    assert f"error: {place}: others can write in it" in process.communicate(timeout=30)[1]
    place.chmod(0o700)
    (place / "all").mkdir()
    (place / "all/queue.lock").symlink_to(precious)
    process = launch("--gpus", "1", "--", "true")
    assert "error: [Errno 40]" in process.communicate(timeout=30)[1]
    assert precious.read_text() == "kept"


def test_a_job_has_no_standard_input(launch):
    assert launch("--", "sh", "-c", "read word || echo nobody").communicate(timeout=30)[0] == "nobody\n"


def test_trainers_get_time_to_save(launch):
    """torchrun reads from this variable how long trainers may take after SIGTERM; the default is 30 seconds."""
    words = ("--", "sh", "-c", "echo $TORCH_ELASTIC_SHUTDOWN_TIMEOUT")
    assert int(launch(*words).communicate(timeout=30)[0]) >= 3600
    assert launch(*words, TORCH_ELASTIC_SHUTDOWN_TIMEOUT="7").communicate(timeout=30)[0] == "7\n"


def test_several_nodes_need_a_cluster(launch):
    process = launch("--nodes", "2", "--", "torchrun", "x.py")
    assert "error: --nodes 2: several nodes need SLURM" in process.communicate(timeout=30)[1]


def test_a_second_copy_waits_and_names_the_job_that_it_waits_for(launch, tmp_path):
    words = ["--lock", str(tmp_path / "a/job.lock")]
    first, _ = hold(launch, *words)
    second = launch(*words, "--", "echo", "mine")
    message = second.stderr.readline()
    assert f"waiting for process {first.pid} on " in message and "which holds" in message
    first.kill()
    assert second.communicate(timeout=30)[0] == "mine\n"
    assert (tmp_path / "a/job.lock").read_text().startswith(f"process {second.pid} on ")


def test_a_job_that_starts_a_command_twice_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "POLL", 0.01)
    monkeypatch.setattr(lock, "SAME_JOB", 0.02)
    held = lock.take(tmp_path / "lock", "SLURM job 12", "process 1 on n1")
    with pytest.raises(
        UserError, match="held by SLURM job 12, process 1 on n1, since .* started the same command twice"
    ):
        lock.take(tmp_path / "lock", "SLURM job 12", "process 2 on n1")
    os.close(held)
    os.close(lock.take(tmp_path / "lock", "SLURM job 123", "process 3 on n1"))


def test_gpus_of_a_machine(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8f, 3")
    assert devices.visible_devices() == ["GPU-8f", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.visible_devices() == []


@pytest.mark.parametrize(("printed", "status", "found"), [("0\n1", 0, ["0", "1"]), ("it has failed", 9, [])])
def test_gpus_that_nvidia_smi_lists(printed, status, found, tmp_path, monkeypatch):
    """Without a working driver it says so in a sentence on standard output, which names no GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{printed}'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.visible_devices() == found


@pytest.mark.parametrize(
    ("launcher", "flags"),
    [
        ("accelerate launch", "--num_machines 2 --machine_rank 1 --main_process_ip 10.0.0.7 --main_process_port 12345"),
        ("torchrun", "--nnodes 2 --node_rank 1 --master_addr 10.0.0.7 --master_port 12345"),
    ],
)
def test_a_launcher_gets_the_rendezvous_from_slurms_variables(launcher, flags, tmp_path, monkeypatch):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        '"show hostnames node-[a-b]") echo node-a; echo node-b ;;\n'
        '"show node node-a") echo "NodeName=node-a NodeAddr=10.0.0.7 NodeHostName=a" ;;\n'
        "*) exit 1 ;;\nesac\n"
    )
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    variables = {"JOB_NODELIST": "node-[a-b]", "NNODES": "2", "NODEID": "1", "JOB_ID": "20345"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    words = [*launcher.split(), "--num_processes", "16", "train.py", "two words"]
    expected = [*launcher.split(), *flags.split(), "--num_processes", "16", "train.py", "two words"]
    assert slurm.with_rendezvous(words) == expected
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node-c")
    with pytest.raises(UserError, match="scontrol show hostnames node-c: exit status 1"):
        slurm.with_rendezvous(words)
    with pytest.raises(UserError, match="several nodes need accelerate launch or torchrun first, not python"):
        slurm.with_rendezvous(["python", "train.py"])


@pytest.mark.parametrize(
    ("code", "status"), [("", 0), ("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 15)", 143)]
)
def test_the_exit_status_of_a_step_that_holds_no_lock(code, status):
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert slurm.run_step([sys.executable, "-c", code], None) == status
    finally:
        signal.signal(signal.SIGTERM, before)


def test_gpus_are_divided_evenly():
    assert "--gres=gpu:8" in slurm.srun(["x"], nodes=2, gpus=16)
    assert "--gres=none" in slurm.srun(["x"], nodes=1, gpus=0)
    with pytest.raises(UserError, match="--gpus 3: can't be shared out evenly to 2 nodes"):
        slurm.srun(["x"], nodes=2, gpus=3)


TRAINER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_signal_reaches_the_trainers_and_not_their_launcher(root, tmp_path):
    """The stand-in for torchrun, which would kill its trainers, gets no signal; its trainer does, and saves."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    (tmp_path / "agent.py").write_text(
        "import subprocess, sys\nsys.exit(subprocess.call([sys.executable, sys.argv[1]]))\n"
    )
    agent = [sys.executable, tmp_path / "agent.py", tmp_path / "trainer.py"]
    words = [sys.executable, root / "workflow/scripts/launch_job.py", "--on_node", "--", *agent]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "saved\n"
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("place", "named", "card"),
    [("0", "5", "5"), ("1", "3, GPU-7f", "GPU-7f"), ("2", None, "2"), ("1", "", ""), (None, "3,4", "3,4")],
)
def test_each_process_sees_only_its_own_card(place, named, card):
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {"HOME": "/", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    environment |= dict.fromkeys(names, place) if place else {}
    environment |= {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    devices.take_one_card(environment)
    assert environment == {"HOME": "/", "CUDA_VISIBLE_DEVICES": card}


def test_a_process_without_a_card_is_reported_in_one_line():
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=3,4: no card for process 3 of this machine"):
        devices.take_one_card({"LOCAL_RANK": "2", "CUDA_VISIBLE_DEVICES": "3,4"})


def test_another_job_waits_for_longer_than_a_job_needs_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "POLL", 0.01)
    monkeypatch.setattr(lock, "SAME_JOB", 0.02)
    held = lock.take(tmp_path / "lock", "SLURM job 12", "process 1 on n1")
    threading.Timer(0.3, os.close, [held]).start()
    os.close(lock.take(tmp_path / "lock", "SLURM job 1", "process 2 on n1"))
