"""Data larger than memory: a process that may take a tenth of its data, and how fast rows come.

`python -m benchmarks.large_data FOLDER` writes parquet files whose values take 10 GiB (a fraction of it on disk), then,
each in a process of its own with a limit on its memory (`RLIMIT_DATA`, as by `ulimit -d`), checks them, trains an epoch
on them, with and without threads that read ahead, and scans them with pyarrow alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

WIDE, GROUP = 3072, 400  # numbers of a row, rows of a row group: 4.7 MiB

SPEC = """
version: 1
name: large
data:
  source: parquet
  file: rows-*.parquet
  memory: 128
  columns:
    x: {column: x, transforms: [standardize]}
    y: {column: y}
  split: {validation: 500}
  labels: {y: {count: 300}}
nodes:
  x:
    distribution: Normal
    shape: [3072]
    supervision: full
    generative: {parents: [y, z], network: {mlp: [16]}}
  y:
    distribution: Categorical
    categories: 4
    supervision: partial
    recognition: {parents: [x], network: {mlp: [16]}, estimator: enumerate}
  z:
    distribution: Normal
    shape: [4]
    supervision: none
    recognition: {parents: [x, y], network: {mlp: [16]}}
objective: {alpha: 30}
train: {epochs: 1, batch_size: {unlabelled: 100, labelled: 20}}
evaluate: {samples: 2}
"""

CHILD = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_DATA, ({limit}, {limit}))
began, used = time.perf_counter(), time.process_time()
{work}
print(json.dumps({{"wall": time.perf_counter() - began, "cpu": time.process_time() - used,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}}))
"""

SCAN = """
import glob, pyarrow, pyarrow.parquet
pyarrow.set_cpu_count(1)
for path in sorted(glob.glob("rows-*.parquet")):
    file = pyarrow.parquet.ParquetFile(path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["x", "y"], use_threads=False)
        table.column("x").combine_chunks().flatten().to_numpy()
"""

COMMAND = """
from sgc.cli import main
sys.argv[1:] = {words!r}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def write(folder: Path, gibibytes: float, files: int = 8) -> int:
    """Write the files, each sorted by label, and the spec, and give how many rows there are; the files are alike."""
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.yaml").write_text(SPEC)
    groups = int(gibibytes * 2**30 / (4 * WIDE * GROUP * files))
    draw = np.random.default_rng(0)
    centres, noise = draw.integers(0, 3, (4, WIDE)), draw.integers(0, 2, (8, GROUP, WIDE))
    first = folder / "rows-0.parquet"
    if not first.exists():
        schema = pyarrow.schema({"x": pyarrow.list_(pyarrow.float32(), WIDE), "y": pyarrow.int8()})
        with pyarrow.parquet.ParquetWriter(folder / "writing", schema, compression="zstd") as writer:
            for group in range(groups):
                y = np.full(GROUP, group * 4 // groups, dtype=np.int8)
                x = (centres[y] + noise[group % len(noise)]).astype(np.float32)
                lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), WIDE)
                writer.write_table(pyarrow.table({"x": lists, "y": y}, schema=schema))
        os.replace(folder / "writing", first)
    for number in range(1, files):
        shutil.copyfile(first, folder / f"rows-{number}.parquet")
    return groups * files * GROUP


def measured(folder: Path, work: str, limit: int) -> dict[str, Any]:  # Any: plain JSON
    """Run code in a process with so many bytes of memory, and give what it took: seconds, and bytes at most."""
    code = CHILD.format(limit=limit, work=work)
    # arrow's usual pool reserves a GiB that it does not use, and glibc keeps arrays that were freed
    memory = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    environment = {**os.environ, **memory, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Write, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gibibytes", type=float, default=10.0)
    parser.add_argument("--limit", type=int, default=1024, help="MiB that each process may take")
    parser.add_argument("--only", nargs="*", help="which measurements: scan, check, train, ahead")
    given = parser.parse_args()
    rows = write(given.folder, given.gibibytes)
    size, disk = rows * WIDE * 4, sum(path.stat().st_size for path in given.folder.glob("rows-*.parquet"))
    print(f"{rows:,} rows, {size / 2**30:.2f} GiB as float32, {disk / 2**30:.2f} GiB on disk; limit {given.limit} MiB")
    every = {
        "scan": SCAN,
        "check": COMMAND.format(words=["check", "spec.yaml", "--data"]),
        "train": COMMAND.format(words=["train", "spec.yaml", "-o", "runs/0", "--force"]),
        "ahead": COMMAND.format(words=["train", "spec.yaml", "-o", "runs/2", "--force", "--set", "data.prefetch=2"]),
    }
    for name, work in every.items():
        if given.only and name not in given.only:
            continue
        began = time.perf_counter()
        found = measured(given.folder, work, given.limit * 2**20)
        line = f"{name:6} peak {found['peak'] / 2**20:6.0f} MiB  wall {found['wall']:7.1f} s  cpu {found['cpu']:7.1f} s"
        print(f"{line}  {rows / found['cpu']:8.0f} rows a second of cpu, {time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
