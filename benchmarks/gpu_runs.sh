#!/usr/bin/env bash
# Whole runs on a GPU: mixed precisions train, a run goes on across devices, and two GPUs come to what one comes to.
#
#     benchmarks/gpu_runs.sh                 # two minutes; says 'ok' or what went wrong for each line, status 1 for any
#     DEVICE=cpu benchmarks/gpu_runs.sh      # the same script where there is no GPU: a test of itself
#
# That the first steps on a GPU are those of the CPU within float32 is what benchmarks/gpu.sh holds. It installs nothing:
# PYTHON names a Python that has sgc's dependencies and a torch with CUDA.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
device=${DEVICE:-cuda} spec=specs/digits.yaml failed=0
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT

train() { # RUN EPOCHS words…
    local run=$1 epochs=$2
    shift 2
    "$PYTHON" -m sgc train "$spec" -o "$runs/$run" --set "train.epochs=$epochs" "$@" >"$runs/words" 2>&1
}
say() { # status what
    if [ "$1" = 0 ]; then echo "ok      $2"; else echo "FAILED  $2" && tail -3 "$runs/words" && failed=1; fi
}
bounds() { # RUN OTHER: the last validation bounds are within a nat in a hundred
    "$PYTHON" - "$runs/$1" "$runs/$2" >"$runs/words" 2>&1 <<'END'
import json, sys
one, other = (json.loads(open(f"{run}/metrics.jsonl").read().splitlines()[-1])["validation_bound"] for run in sys.argv[1:])
print(one, other)
sys.exit(abs(one - other) > 0.01 * abs(one))
END
}

train whole 6 --set "train.device=$device"
say $? "six epochs in 32-true on $device"
for precision in bf16-mixed 16-mixed; do
    train "$precision" 6 --set "train.device=$device" --set "train.precision=$precision"
    say $? "six epochs in $precision"
    bounds whole "$precision"
    say $? "its bound is that of 32-true within 1 %"
done
# the device is a key of the spec, so the run is told that another one stands in for it
train across 2 --set train.device=auto
say $? "two epochs on whatever there is"
CUDA_VISIBLE_DEVICES='' train across 4 --set train.device=auto --resume
say $? "gone on with on the CPU"
train across 6 --set train.device=auto --resume
say $? "and on the first device again"
bounds whole across
say $? "its bound is that of the run on one device within 1 %"
gpus=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" -gt 1 ] || [ "$device" = cpu ]; then
    train two 6 --set "train.device=$device" --devices 2
    say $? "six epochs on two devices"
    bounds whole two
    say $? "its bound is that of one device within 1 %"
else
    echo "skipped two devices: there is $gpus"
fi
exit $failed
