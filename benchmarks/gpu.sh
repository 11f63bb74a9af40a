#!/usr/bin/env bash
# Steps of training on a GPU, beside the same by hand, and held to those of the CPU: ten minutes, one table, one file.
#
#     benchmarks/gpu.sh                        # benchmarks/gpu.json
#     benchmarks/gpu.sh --device cpu --quick   # the same script where there is no GPU: a test of itself
#
# It installs nothing: PYTHON names a Python that has sgc's dependencies and a torch with CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    for each in .venv-bench/bin/python .venv/bin/python; do
        if [ -x "$each" ]; then PYTHON=$each; fi
    done
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m benchmarks.gpu "$@"
