#!/usr/bin/env bash
# Records on all nodes of a Slurm job: sbatch slurm.sh phys_record.yaml
# The first node has Ray's head and the driver: output_dir and the inputs are on a file system that it sees. The others
# join. Set what fits your cluster, one task per node:
#SBATCH --job-name=parc-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=parc-ray-%j.log
# A job that loses a node, or is preempted, is queued again: the run resumes, and its log goes on in the same file.
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

config=${1:?usage: sbatch slurm.sh phys_record.yaml}
# This script runs on the first node. Ray does not find its nodes by their names everywhere.
head=$(python -c 'import ray.util; print(ray.util.get_node_ip_address())')
port=${RAY_PORT:-$((20000 + SLURM_JOB_ID % 20000))}

# Nobody else on these nodes gets into this job's Ray. Older versions of Ray, without tokens, ignore it.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
# At the end nobody uses the nodes any longer: newer versions of Ray would keep them for half a minute.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

export HEAD=$head PORT=$port
# shellcheck disable=SC2016  # each node expands it for itself
srun --cpus-per-task "${SLURM_CPUS_PER_TASK:-1}" bash -c '
    set -euo pipefail
    if [[ $SLURM_PROCID == 0 ]]; then
        place=(--head --node-ip-address "$HEAD" --port "$PORT")
    else
        place=(--address "$HEAD:$PORT")
        until (exec 3<> "/dev/tcp/$HEAD/$PORT") 2> /dev/null; do sleep 1; done
    fi
    exec ray start "${place[@]}" --num-cpus "${SLURM_CPUS_PER_TASK:-1}" --block
' &

# A run makes use of the nodes that are there when it begins. One that has not come within five minutes is given up.
export RAY_ADDRESS=$head:$port
reachable() { (exec 3<> "/dev/tcp/$head/$port") 2> /dev/null; }
for _ in {1..300}; do if reachable; then break; fi; sleep 1; done
if reachable; then
    python - "$SLURM_NNODES" << 'PYTHON'
import sys, time, ray

ray.init("auto", logging_level="ERROR", log_to_driver=False)
deadline = time.monotonic() + 300
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]) and time.monotonic() < deadline:
    time.sleep(1)
PYTHON
fi

# Shortly before the time is over, Slurm tells this process, and nobody else: the run stops, and goes on when it is
# submitted again. Where this process ends, so does the job, and Ray on all nodes with it.
exec parc-ray record --config "$config"
