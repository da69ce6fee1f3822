#!/usr/bin/env bash
# Several processes on one or more nodes: tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]
# Variables as in MMDetection: NNODES, NODE_RANK, PORT, MASTER_ADDR; and PYTHON, the interpreter.
# With GPUs NCCL joins the processes, one GPU each; without, gloo does (tools/processes.py).
set -euo pipefail

positional=2
if [ $# -le $positional ]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]" >&2
    exit 2
fi
arguments=("${@:1:positional}")
processes=${*:positional+1:1}
shift $((positional + 1))

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$(dirname "$0")/test.py" "${arguments[@]}" --launcher pytorch "$@"
