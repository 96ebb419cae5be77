#!/usr/bin/env bash
# Records on all nodes of a Slurm job: sbatch slurm.sh phys_record.yaml
# One task per node: the first starts Ray's head and the run, the others join. output_dir and the inputs are on a file
# system that at least the first node sees. Set what fits your cluster:
#SBATCH --job-name=parc-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=parc-ray-%j.log
set -euo pipefail

config=${1:?usage: sbatch slurm.sh phys_record.yaml}
port=${RAY_PORT:-$((20000 + SLURM_JOB_ID % 20000))}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Nobody else on these nodes gets into this job's Ray. Older versions of Ray, without tokens, ignore it.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN

export PARC_RAY_CONFIG=$config PARC_RAY_HEAD=$head PARC_RAY_PORT=$port

# shellcheck disable=SC2016  # each node expands it for itself
srun bash -c '
    set -euo pipefail
    resources=(--num-cpus "${SLURM_CPUS_PER_TASK:-1}")
    reachable() { (exec 3<> "/dev/tcp/$PARC_RAY_HEAD/$PARC_RAY_PORT") 2> /dev/null; }
    if [[ $SLURM_PROCID != 0 ]]; then
        trap "" TERM
        for _ in {1..300}; do reachable && break || sleep 1; done
        reachable || exit 0  # the run has ended already
        ray start --address "$PARC_RAY_HEAD:$PARC_RAY_PORT" "${resources[@]}"
        while reachable; do sleep 5; done
        exit 0
    fi
    ray start --head --node-ip-address "$PARC_RAY_HEAD" --port "$PARC_RAY_PORT" "${resources[@]}"
    trap "ray stop --grace-period 10 > /dev/null" EXIT
    export RAY_ADDRESS="$PARC_RAY_HEAD:$PARC_RAY_PORT"
    parc-ray record --config "$PARC_RAY_CONFIG" &
    run=$!
    trap "kill -TERM $run" TERM
    until wait "$run" && code=0 || { code=$?; ! kill -0 "$run" 2> /dev/null; }; do :; done
    exit "$code"
' &
step=$!
# Slurm tells this script, and nobody else, that the time is nearly over. The run stops, and goes on when submitted again.
trap 'kill -TERM "$step"' TERM
until wait "$step" && code=0 || { code=$?; ! kill -0 "$step" 2> /dev/null; }; do :; done
exit "$code"
