#!/usr/bin/env bash
# Stop exactly the daemons that cluster_up.sh started, by their pid files; logs stay in $SLURM_SIM/log.
set -u
. "$(cd "$(dirname "$0")" && pwd)/common.sh"

stop() { # the process of pid file $1, if it is one of ours
  local pid
  [ -e "$1" ] || return 0
  pid=$(cat "$1")
  if alive "$1" && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qE 'slurm|munged|mariadbd'; then
    kill "$pid"
    for _ in $(seq 50); do
      alive "$1" || break
      sleep 0.1
    done
    alive "$1" && kill -9 "$pid"
  fi
  rm -f "$1"
}

if alive "$SIM/slurmctld.pid"; then
  timeout 5 scancel --user="$(id -un)" 2>/dev/null
  sleep 1
fi
for file in "$SIM"/slurmd-*.pid "$SIM/slurmctld.pid" "$SIM/slurmdbd.pid" "$SIM/mariadbd.pid" "$SIM/munge-run/munged.pid"; do
  stop "$file"
done
for link in slurm.conf gres.conf slurmdbd.conf; do
  [ "$(readlink /etc/slurm/$link 2>/dev/null)" = "$SIM/$link" ] && rm -f "/etc/slurm/$link"
done
echo "down ($SIM)"
