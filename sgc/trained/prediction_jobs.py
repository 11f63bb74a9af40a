"""Predictions in several processes: chunks are handed out as they are read, and come back in their order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing.connection import wait
from typing import Any

import torch

from sgc.errors import Interrupted, RunError, in_shell, is_about_memory, option
from sgc.own_code import failure
from sgc.report.standard_streams import say
from sgc.trained.prediction_chunks import Chunk, Predictor, Question, Rows
from sgc.training.launch_environment import importing_as_here

AHEAD = 2  # chunks that each process has before it


def in_processes(question: Question, chunks: Iterator[Rows], jobs: int) -> Generator[Chunk, None, None]:
    """Answer chunks in so many processes, of one thread each, and give them in their order.

    Raises: DataError, RunError.
    """
    context = multiprocessing.get_context("spawn")  # a fork would take torch's threads along as locks that nobody opens
    with ExitStack() as stack:
        stack.enter_context(importing_as_here())
        stop = context.Event()
        pool = ProcessPoolExecutor(jobs, context, _prepare, (question, stop))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        stack.callback(stop.set)
        waiting: deque[Future[Chunk]] = deque()
        try:
            for rows in chunks:
                waiting.append(pool.submit(_answer, rows))
                if len(waiting) > AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            words = "a process was killed, as when memory runs out: take fewer jobs"
            raise RunError(f"{option('jobs', str(jobs))}: {words}") from None


class _Process:
    """What one process of several holds: the question, its predictor, and the sign to stop."""

    question: Question
    predictor: Predictor | None = None
    stop: Any  # Any: an event of multiprocessing, whose type is that of its context


def _prepare(question: Question, stop: Any) -> None:  # Any: as above
    """Set up a process: it has one thread, leaves Ctrl-C to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.showwarning = lambda message, *rest, **more: say(f"warning: {message}")
    torch.set_num_threads(1)
    _Process.question, _Process.stop = question, stop


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _answer(rows: Rows) -> Chunk:
    """Answer a chunk in this process."""

    def tick(done: int) -> None:
        if _Process.stop.is_set():
            raise Interrupted("")

    with ExitStack() as stack:
        if _Process.question.shell:
            stack.enter_context(in_shell())
        try:
            if _Process.predictor is None:
                _Process.predictor = _Process.question.predictor()
            return _Process.predictor.chunk(rows, tick)
        except Exception as problem:  # a traceback, which tells own code apart, does not reach the parent
            if is_about_memory(problem):
                raise MemoryError from None
            if words := failure(problem):
                raise RunError(words) from None
            raise
