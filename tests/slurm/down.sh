#!/usr/bin/env bash
# Stop the Slurm of tests/slurm/up.sh with all its jobs, and remove what it left. munged stays.
set -uo pipefail
home=${HEARTCUT_SLURM:-/tmp/heartcut-slurm}
export SLURM_CONF=$home/slurm.conf
[ -e "$SLURM_CONF" ] || { echo "no Slurm in $home"; exit 0; }
stop() {  # a pid file, and what the process must be called: the number may have gone to another
    pid=$(cat "$1" 2>/dev/null) || return
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || return
    kill "$pid"
    for _ in {1..40}; do kill -0 "$pid" 2>/dev/null || return; sleep 0.25; done
    kill -KILL "$pid"
}
if timeout 10 scancel --quiet --user="$(id -un)" 2>/dev/null; then
    for _ in {1..60}; do [ -z "$(timeout 10 squeue --noheader 2>/dev/null)" ] && break; sleep 0.5; done
fi
stop "$home/slurmctld.pid" slurmctld
for file in "$home"/slurmd.*.pid; do stop "$file" slurmd; done
rm -rf "$home"
echo "stopped"
