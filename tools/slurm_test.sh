#!/usr/bin/env bash
# slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [options of tools/test.py]
set -euo pipefail
srun -p "$1" --job-name="$2" --ntasks="${GPUS:-8}" \
  --ntasks-per-node="${GPUS_PER_NODE:-8}" --gres="gpu:${GPUS_PER_NODE:-8}" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
  python -u tools/test.py "$3" "$4" --launcher slurm "${@:5}"
