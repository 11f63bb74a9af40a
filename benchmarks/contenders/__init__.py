"""The contenders: who takes part, under which name, and where each one's code stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A contender as the driver knows it: its row of the table, its module and, of several in one file, which."""

    title: str
    module: str
    way: str = ""


SGC, PLAIN = "sgc", "plain"

ENTRIES: dict[str, Entry] = {
    SGC: Entry("sgc", "benchmarks.contenders.sgc_step"),
    PLAIN: Entry("plain PyTorch", "benchmarks.contenders.plain_torch"),
    "tuned": Entry("tuned PyTorch", "benchmarks.contenders.tuned_torch"),
    "pyro-example": Entry("Pyro, as its own example", "benchmarks.contenders.pyro_step", "example"),
    "pyro": Entry("Pyro, one optimiser, validation off", "benchmarks.contenders.pyro_step", "lean"),
    "numpyro": Entry("NumPyro", "benchmarks.contenders.numpyro_step"),
    "pixyz": Entry("Pixyz", "benchmarks.contenders.pixyz_step"),
}
