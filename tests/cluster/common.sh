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

ours() { # ids of the live daemons and jobs of the cluster in $SIM, with or without a pid file
  local pid state
  for pid in $(daemons_and_jobs); do tree "$pid"; done | sort -un | while read -r pid; do
    state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null)
    [ -z "$state" ] || [ "${state%% *}" = Z ] || echo "$pid"
  done
}

daemons_and_jobs() { # a daemon names $SIM in its arguments or holds a file there; a job finds its cluster there
  local folder
  for folder in /proc/[0-9]*; do
    case $(cat "$folder/comm" 2>/dev/null) in
      slurm* | munged | mariadbd) (tr '\0' ' ' <"$folder/cmdline"; readlink "$folder"/fd/*) 2>/dev/null | grep -F "$SIM/" ;;
      *) grep -qs SLURMD_NODENAME= "$folder/environ" && grep -F "SLURM_CONF=$SIM/" "$folder/environ" ;;
    esac >/dev/null && echo "${folder#/proc/}"
  done
}

tree() { # the process and all that it started
  local child
  echo "$1"
  for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do tree "$child"; done
}
