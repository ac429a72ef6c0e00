# What cluster_up.sh and cluster_down.sh share. Sourced, not run.
SIM=${SLURM_SIM:-/tmp/slurm-sim}
export SLURM_CONF=$SIM/slurm.conf

alive() { # is the process of pid file $1 running? A zombie under a pid 1 that does not reap is not.
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ -r "/proc/$pid/stat" ] &&
    [ "$(awk '{print $3}' "/proc/$pid/stat")" != Z ]
}

wait_for() { # wait_for SECONDS COMMAND...: until the command succeeds
  local tries=$(($1 * 5))
  shift
  for _ in $(seq "$tries"); do
    "$@" && return 0
    sleep 0.2
  done
  return 1
}

numbered() { # numbered PREFIX COUNT: PREFIX1 PREFIX2 ...
  for i in $(seq 1 "$2"); do echo "$1$i"; done
}
