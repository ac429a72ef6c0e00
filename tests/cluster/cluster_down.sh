#!/usr/bin/env bash
# Stop what cluster_up.sh started and what it started in turn; logs stay in $SLURM_SIM/log. Fails if any of it lives on.
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
# A killed run leaves what no pid file names: step daemons, jobs whose step daemon is gone, daemons of an older cluster.
for _ in 1 2 3; do
  # shellcheck disable=SC2046 # one word per process
  kill -9 $(ours) 2>/dev/null || break
  sleep 0.3
done
for link in slurm.conf gres.conf slurmdbd.conf; do
  [ "$(readlink /etc/slurm/$link 2>/dev/null)" = "$SIM/$link" ] && rm -f "/etc/slurm/$link"
done
left=$(ours)
if [ -n "$left" ]; then
  echo "error: still alive: $left" >&2
  exit 1
fi
echo "down ($SIM)"
