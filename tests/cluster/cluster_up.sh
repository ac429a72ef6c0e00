#!/usr/bin/env bash
# A real Slurm on one machine, for trying profiles/slurm: several virtual nodes, fake GPUs, loopback only,
# no systemd, no cgroups. Debian, as root:  apt-get install -y --no-install-recommends slurm-wlm munge
# Then:  bash tests/cluster/cluster_up.sh && . /tmp/slurm-sim/env.sh && snakemake --profile slurm all
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/common.sh"
CPUS=${SLURM_SIM_CPUS:-4} # pretended CPUs per node; may exceed the real ones
MEM=${SLURM_SIM_MEM:-64000} # pretended MB per node; room for a job whose memory doubled twice
CPU_NODES=${SLURM_SIM_CPU_NODES:-2}
GPU_NODES=${SLURM_SIM_GPU_NODES:-1}
GPUS=${SLURM_SIM_GPUS:-2} # pretended GPUs per GPU node
PORT=${SLURM_SIM_PORT:-16817}
NODES=$(numbered cpu "$CPU_NODES"; numbered gpu "$GPU_NODES")
ACCOUNTING="AccountingStorageType=accounting_storage/none"
BEGIN=$SECONDS

check_machine() {
  [ "$(id -u)" = 0 ] || { echo "error: run as root" >&2; exit 1; }
  local program
  for program in munged slurmctld slurmd sbatch squeue; do
    command -v $program >/dev/null ||
      { echo "error: no $program: apt-get install -y --no-install-recommends slurm-wlm munge" >&2; exit 1; }
  done
}

start_munge() { # own key and socket, so that an installed munge stays untouched
  (umask 077 && head -c 1024 /dev/urandom >"$SIM/munge/munge.key")
  munged --force --key-file="$SIM/munge/munge.key" --socket="$SIM/munge-run/munge.socket" \
    --pid-file="$SIM/munge-run/munged.pid" --log-file="$SIM/munge/munged.log" \
    --seed-file="$SIM/munge/munged.seed" 2>"$SIM/log/munged.start"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
database_answers() { mariadb --no-defaults -uroot -S "$SIM/db.sock" -e 'select 1' >/dev/null 2>&1; }

start_accounting() { # SLURM_SIM_DBD=1, so that sacct works (packages mariadb-server slurmdbd slurm-wlm-mysql-plugin)
  mariadb-install-db --datadir="$SIM/db" --user=root --auth-root-authentication-method=normal --skip-test-db \
    >"$SIM/log/mariadb-install.log" 2>&1
  setsid mariadbd --no-defaults --user=root --datadir="$SIM/db" --socket="$SIM/db.sock" \
    --pid-file="$SIM/mariadbd.pid" --skip-networking --innodb-buffer-pool-size=64M \
    --innodb-lock-wait-timeout=900 >"$SIM/log/mariadbd.log" 2>&1 </dev/null &
  wait_for 20 database_answers
  cat >"$SIM/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$SIM/munge-run/munge.socket
DbdHost=localhost
DbdPort=$((PORT - 1))
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
LogFile=$SIM/log/slurmdbd.log
PidFile=$SIM/slurmdbd.pid
CONF
  chmod 600 "$SIM/slurmdbd.conf"
  mkdir -p /etc/slurm && ln -sfn "$SIM/slurmdbd.conf" /etc/slurm/slurmdbd.conf
  MYSQL_UNIX_PORT="$SIM/db.sock" slurmdbd
  wait_for 20 answers $((PORT - 1))
  ACCOUNTING="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((PORT - 1))
AccountingStoragePass=$SIM/munge-run/munge.socket"
}

write_config() {
  local host port=$((PORT + 1)) node gres
  host=$(hostname -s)
  cat <<CONF
ClusterName=sim
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$SIM/munge-run/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$SIM/state
SlurmdSpoolDir=$SIM/spool/%n
SlurmctldPidFile=$SIM/slurmctld.pid
SlurmdPidFile=$SIM/slurmd-%n.pid
SlurmctldLogFile=$SIM/log/slurmctld.log
SlurmdLogFile=$SIM/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,bf_interval=5,batch_sched_delay=0,defer_batch=0
SlurmdParameters=config_overrides
LaunchParameters=use_interactive_step
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=${SLURM_SIM_SLURMD_TIMEOUT:-20}
KillWait=${SLURM_SIM_KILLWAIT:-5}
MinJobAge=${SLURM_SIM_MINJOBAGE:-600}
MaxJobCount=20000
$ACCOUNTING
JobCompType=jobcomp/filetxt
JobCompLoc=$SIM/log/jobcomp.txt
GresTypes=gpu
DefMemPerCPU=500
CONF
  for node in $NODES; do
    gres=
    [[ $node == gpu* ]] && gres="Gres=gpu:a100:$GPUS"
    echo "NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$port CPUs=$CPUS RealMemory=$MEM $gres State=UNKNOWN"
    port=$((port + 1))
  done
  echo "PartitionName=cpu Nodes=cpu[1-$CPU_NODES] Default=YES MaxTime=1-00:00:00 DefaultTime=00:10:00 State=UP"
  [ "$GPU_NODES" -gt 0 ] &&
    echo "PartitionName=gpu Nodes=gpu[1-$GPU_NODES] MaxTime=1-00:00:00 DefaultTime=00:10:00 State=UP"
}

make_gpus() { # /dev/null under another name: slurmd refuses plain files and then sets no CUDA_VISIBLE_DEVICES
  local i
  : >"$SIM/gres.conf"
  for i in $(seq 0 $((GPUS - 1))); do mknod -m 666 "$SIM/dev/nvidia$i" c 1 3; done
  for i in $(seq 1 "$GPU_NODES"); do
    echo "NodeName=gpu$i Name=gpu Type=a100 Flags=nvidia_gpu_env File=$SIM/dev/nvidia[0-$((GPUS - 1))]" >>"$SIM/gres.conf"
  done
}

link_config() { # snakemake's jobstep executor drops SLURM_CONF before its inner srun: the default path must resolve
  if [ -e /etc/slurm/slurm.conf ] && [ ! -L /etc/slurm/slurm.conf ]; then
    echo "warning: /etc/slurm/slurm.conf is a real file, left alone" >&2
    return
  fi
  mkdir -p /etc/slurm
  ln -sfn "$SIM/slurm.conf" /etc/slurm/slurm.conf
  ln -sfn "$SIM/gres.conf" /etc/slurm/gres.conf
}

all_idle() {
  [ "$(timeout 5 sinfo -h -N -o '%N %T' 2>/dev/null | awk '$2 == "idle"' | sort -u | wc -l)" = $((CPU_NODES + GPU_NODES)) ]
}

check_machine
if alive "$SIM/slurmctld.pid" && scontrol ping 2>/dev/null | grep -q UP; then
  echo "already up ($SIM)"
  exit 0
fi
bash "$HERE/cluster_down.sh" >/dev/null # what a killed run left behind
rm -rf "$SIM"
install -d -m 755 "$SIM" "$SIM/state" "$SIM/log" "$SIM/spool" "$SIM/dev" "$SIM/munge-run"
install -d -m 700 "$SIM/munge"
start_munge
[ "${SLURM_SIM_DBD:-0}" = 1 ] && start_accounting
make_gpus
write_config >"$SIM/slurm.conf"
slurmctld -f "$SIM/slurm.conf" -c
wait_for 5 alive "$SIM/slurmctld.pid" || { tail -n 5 "$SIM/log/slurmctld.log" >&2; exit 1; }
for node in $NODES; do
  mkdir -p "$SIM/spool/$node"
  slurmd -f "$SIM/slurm.conf" -N "$node"
done
echo "export SLURM_CONF=$SIM/slurm.conf SLURM_SIM=$SIM" >"$SIM/env.sh"
link_config
wait_for 20 all_idle || { tail -n 5 "$SIM"/log/*.log >&2; exit 1; }
for partition in cpu gpu; do # a real job per partition proves the chain
  sinfo -h -p $partition -o %D | grep -qv '^0' && timeout 15 srun -Q -p $partition true
done
sinfo -N -o '%N %P %T %c %m %G'
echo "up in $((SECONDS - BEGIN)) s; now run:  . $SIM/env.sh"
