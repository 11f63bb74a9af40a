"""The driver's end of a contender's process: it is started, asked by lines of JSON, and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Lost(Exception):
    """A contender cannot go on; says why, as its row of the table does."""


class Resident:
    """A contender in a process of its own, see `benchmarks/serve.py`."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  what it prints, until `stop`
        count = str(threads)
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serve", name, count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **counts, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        )
        self._greeting: dict[str, Any] | Lost | None = None  # Any: what JSON can say

    def greeting(self) -> dict[str, Any]:
        """Give what it says once its library is imported. Raises: Lost."""
        if self._greeting is None:
            try:
                self._greeting = self._answer()
            except Lost as why:
                self._greeting = why
        if isinstance(self._greeting, Lost):
            raise self._greeting
        return self._greeting

    def ask(self, what: str, **words: object) -> dict[str, Any]:
        """Ask for something and wait for the answer. Raises: Lost."""
        self.greeting()
        assert self.process.stdin is not None
        try:
            print(json.dumps({"do": what, **words}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise Lost(self._last_words()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Lost(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "cannot" in answer:
            raise Lost(f"cannot: {answer['cannot']}")
        if "failed" in answer:
            raise Lost(f"failed: {answer['failed']}")
        return answer

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip()]
        status = self.process.wait()
        return f"ended with status {status}: {lines[-1] if lines else 'nothing said'}"

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        try:
            print(json.dumps({"do": "stop"}), file=self.process.stdin, flush=True)
            self.process.stdin.close()
        except (BrokenPipeError, ValueError):
            pass
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.log.close()
