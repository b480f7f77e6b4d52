#!/usr/bin/env bash
# Check everything that runs differently on an NVIDIA GPU. Prints one JSON line per check, cheap ones first:
#
#     bash benchmarks/gpu/check.sh [SECONDS=450] [DEVICE=cuda] [STEP...]
#
# Each step is a process of its own with a time limit. With DEVICE cpu the same code runs on a few
# tiny inputs: a dry run, whose figures mean nothing. Where OUT is set, the lines and each step's
# log are kept in that folder. Exit code 1: a line says "ok": false.
set -euo pipefail
source "$(dirname "$0")/../../bin/environment"
use_environment ""
cd "$root"
exec "$python" -m benchmarks.gpu.run_steps "$@"
