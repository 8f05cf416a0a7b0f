#!/bin/bash
# 64 processes on 4 machines; run again, it goes on from what is in the results.
#SBATCH --job-name=vitq
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --output=vitq-%j.log
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail
export OMP_NUM_THREADS=1
export VITQ_HOME='/shared/vitq results/home'
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

[ -e /shared/imagenet/val ] || { echo "the data are not there: "/shared/imagenet/val >&2; exit 1; }
mkdir -p '/shared/vitq results'
srun torchrun \
  --nnodes=4 --nproc-per-node=16 \
  --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head_node:29500" \
  -m vitq_core evaluate deit-small --data /shared/imagenet/val
