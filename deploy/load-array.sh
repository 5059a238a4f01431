#!/usr/bin/env bash
# A load as an array of Slurm jobs:
#   deploy/load-array.sh SHARDS URL [OPTIONS of `touchstone load`]
# Each job runs one shard of the same schedule and leaves shard-N.json in this folder, which all nodes
# share. When all have ended, their reports are merged; the exit code is that of the merge, which judges
# the objectives of the whole. The begin can be put off with LEAD (default: 2 minutes from now).
set -euo pipefail

shards=$1
shift
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
  start=$(date -u -d "+${LEAD:-2 minutes}" +%Y-%m-%dT%H:%M:%SZ)
  rm -f shard-*.json
  # A shard's exit code says little; a shard without a report is missed by the merge.
  sbatch --wait --job-name=touchstone-load --array="1-$shards" --output=shard-%a.log \
    --export="ALL,START_AT=$start" "$0" "$shards" "$@" || true
  exec touchstone load merge shard-*.json
fi
exec touchstone load "$@" --shard "$SLURM_ARRAY_TASK_ID/$shards" --start-at "$START_AT" \
  --report "json=shard-$SLURM_ARRAY_TASK_ID.json"
