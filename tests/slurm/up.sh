#!/usr/bin/env bash
# Bring up a real Slurm of two nodes on this machine, for `pytest -m slurm`. Needs Debian or Ubuntu, and root; no systemd.
#
#   tests/slurm/up.sh; . /tmp/heartcut-slurm/env.sh; python -m pytest -m slurm; tests/slurm/down.sh
#
# Where that cannot be, it says why and ends with 0: the tests are skipped then. All state is in $HEARTCUT_SLURM.
set -euo pipefail
home=${HEARTCUT_SLURM:-/tmp/heartcut-slurm} port=${HEARTCUT_SLURM_PORT:-16917}
export PATH=$PATH:/usr/sbin:/sbin SLURM_CONF=$home/slurm.conf
without() { echo "no Slurm for tests: $1"; exit 0; }
running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

[ "$(id -u)" = 0 ] || without "only root can start one"
if ! { command -v slurmctld && command -v slurmd && command -v munged; } >/dev/null; then
    command -v apt-get >/dev/null || without "slurmctld, slurmd and munged are not installed, and there is no apt-get"
    export DEBIAN_FRONTEND=noninteractive
    { timeout 120 apt-get update && timeout 300 apt-get install -y --no-install-recommends slurm-wlm munge; } \
        >/dev/null 2>&1 || without "apt-get cannot install slurm-wlm and munge"
fi
host=$(hostname -s)
mkdir -p "$home"/{state,spool.127.0.0.1,spool.127.0.0.2}

if ! munge -n >/dev/null 2>&1; then  # every message between the daemons is signed with it
    install -d -o munge -g munge /run/munge /etc/munge /var/lib/munge /var/log/munge
    [ -s /etc/munge/munge.key ] || install -o munge -g munge -m 400 <(head -c 1024 /dev/urandom) /etc/munge/munge.key
    setpriv --reuid=munge --regid=munge --clear-groups munged || without "munged does not start"
fi

# Two nodes, whose names are addresses of this machine and so need no DNS, and a partition that preempts the other.
# cred_expire: a requeued job starts again after so many seconds.
cat > "$SLURM_CONF" <<CONF
ClusterName=heartcut
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
AuthInfo=cred_expire=5
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool.%n
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.%n.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=5,batch_sched_delay=0
SlurmdParameters=config_overrides
KillWait=5
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=127.0.0.[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1))-$((port + 2)) CPUs=2
PartitionName=main Nodes=ALL Default=YES MaxTime=1:00:00 PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=ALL MaxTime=1:00:00 PriorityTier=2 PreemptMode=OFF
CONF
printf 'export SLURM_CONF=%q\n' "$SLURM_CONF" > "$home/env.sh"

running "$home/slurmctld.pid" || slurmctld || without "slurmctld does not start; $home/slurmctld.log"
for node in 127.0.0.1 127.0.0.2; do
    running "$home/slurmd.$node.pid" || slurmd -N "$node" || without "slurmd does not start; $home/slurmd.$node.log"
done
for _ in {1..60}; do
    if [ "$(sinfo --noheader --Node --partition main --states idle,mixed,allocated 2>/dev/null | wc -l)" = 2 ]; then
        timeout 60 srun --nodes=2 true || without "a job on both nodes does not run; $home/*.log"
        echo "two nodes are up: . $home/env.sh"
        exit 0
    fi
    sleep 0.5
done
without "the nodes do not come up; $home/*.log"
