#!/usr/bin/env bash
# A SLURM with two nodes on this machine, for tests: munge, slurmctld and two slurmd on loopback, private to DIR.
#   tests/slurm_local.sh install      Debian's packages (root)
#   tests/slurm_local.sh start DIR    then: . DIR/env
#   tests/slurm_local.sh stop DIR     jobs first, then the daemons that `start` has started
#   tests/slurm_local.sh test [PYTEST ARGUMENTS]   install if needed, and run the tests that need SLURM
# The nodes n1 and n2 have fake sizes: 8 cores, 16 GB and 2 GPUs each (a GPU is a harmless character device).
set -euo pipefail
CPUS=8 MEMORY=16000 DEVICES=(/dev/null /dev/zero)
export PATH=$PATH:/usr/sbin:/sbin

install() {
    command -v slurmctld slurmd srun munged >/dev/null && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

# NAME's pid file names a running process of NAME; a stale file must not lead to the end of another process.
alive() { [[ $(cat "/proc/$(cat "$DIR/$1.pid" 2>/dev/null)/comm" 2>/dev/null) == "${1%%.*}"* ]]; }

wait_for() { # SECONDS WHAT COMMAND...
    local tries=$(($1 * 5)) what=$2
    shift 2
    for _ in $(seq "$tries"); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done
    echo "no $what in time" >&2
    tail -n 20 "$DIR"/*.log >&2
    return 1
}
nodes_idle() { [ "$(sinfo -h -o %T | sort -u)" = idle ]; }
queue_empty() { [ -z "$(squeue -h)" ]; }

start() {
    stop
    rm -rf "$DIR"/{state,spool.*,*.log}
    mkdir -p "$DIR"/{state,spool.n1,spool.n2,bin}
    local host user ports
    host=$(hostname -s) user=$(id -un)
    ports=($(python3 -c 'import socket
places = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(place.getsockname()[1] for place in places))'))
    (umask 077 && mkdir -p "$DIR/munge" && head -c 1024 /dev/urandom >"$DIR/munge/key")
    # proctrack/pgid signals as the usual proctrack/cgroup does: a step's own process, not its children in other groups.
    # OverMemoryKill replaces the memory limit of a cgroup.
    cat >"$DIR/slurm.conf" <<END
ClusterName=local
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$user
SlurmdUser=$user
AuthInfo=socket=$DIR/munge.sock,cred_expire=5
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool.%n
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd.%n.pid
SlurmctldLogFile=$DIR/slurmctld.log
SlurmdLogFile=$DIR/slurmd.%n.log
ProctrackType=proctrack/${SLURM_LOCAL_PROCTRACK:-pgid}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
ReturnToService=2
MinJobAge=3600
KillWait=30
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:fake:${#DEVICES[@]}
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:fake:${#DEVICES[@]}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=24:00:00 PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=24:00:00 PriorityTier=10
END
    printf 'Name=gpu Type=fake File=%s\n' "${DEVICES[@]}" >"$DIR/gres.conf"
    # The executor plugin removes all SLURM_* variables except ids from a job, and so the path of a private slurm.conf.
    for name in srun scontrol; do
        printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$DIR/slurm.conf" "$(command -v $name)" >"$DIR/bin/$name"
        chmod +x "$DIR/bin/$name"
    done
    printf 'export SLURM_CONF=%s\nexport PATH=%s:$PATH\n' "$DIR/slurm.conf" "$DIR/bin" >"$DIR/env"
    export SLURM_CONF=$DIR/slurm.conf
    munged --force --key-file="$DIR/munge/key" --socket="$DIR/munge.sock" --pid-file="$DIR/munged.pid" \
        --log-file="$DIR/munge/log" --seed-file="$DIR/munge/seed"
    wait_for 10 munged munge -S "$DIR/munge.sock" -n -o /dev/null
    slurmctld
    wait_for 30 slurmctld scontrol ping
    slurmd -N n1
    slurmd -N n2
    wait_for 60 "idle nodes" nodes_idle
    sinfo
}

stop() {
    export SLURM_CONF=$DIR/slurm.conf
    if alive slurmctld && ! queue_empty; then # a job outlives slurmd
        scancel --user "$(id -un)" || true
        wait_for 60 "end of the jobs" queue_empty || true
    fi
    local pids=()
    for name in slurmd.n1 slurmd.n2 slurmctld munged; do
        if alive $name; then pids+=("$(cat "$DIR/$name.pid")"); fi
        rm -f "$DIR/$name.pid"
    done
    [ ${#pids[@]} -gt 0 ] || return 0
    kill "${pids[@]}" 2>/dev/null || true
    for _ in $(seq 20); do kill -0 "${pids[@]}" 2>/dev/null || return 0; sleep 0.1; done
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done # they end slowly; their state is not needed
}

case ${1:-} in
install) install ;;
start | stop)
    DIR=$(mkdir -p "${2:?DIR}" && cd "$2" && pwd)
    [ ${#DIR} -le 80 ] || { echo "$DIR: too long for a Unix socket" >&2; exit 2; }
    $1
    ;;
test)
    install
    cd "$(dirname "$0")/.."
    exec python -m pytest -m slurm "${@:2}"
    ;;
*)
    sed -n '2,7s/^# //p' "$0" >&2
    exit 2
    ;;
esac
