"""The contenders: who takes part, under which name, and where each one's code stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A contender as the driver knows it: its row of the table, its module and, of several in one file, which.

    asked: whether it takes part only where it is asked for.
    """

    title: str
    module: str
    way: str = ""
    asked: bool = False


SGC, PLAIN = "sgc", "plain"

ENTRIES: dict[str, Entry] = {
    SGC: Entry("sgc", "benchmarks.contenders.sgc_step"),
    PLAIN: Entry("plain PyTorch", "benchmarks.contenders.plain_torch"),
    "tuned": Entry("tuned PyTorch", "benchmarks.contenders.tuned_torch"),
    "pyro-example": Entry("Pyro, as its own example", "benchmarks.contenders.pyro_step", "example"),
    "pyro": Entry("Pyro, one optimiser, validation off", "benchmarks.contenders.pyro_step", "lean"),
    "numpyro": Entry("NumPyro", "benchmarks.contenders.numpyro_step"),
    "pixyz": Entry("Pixyz", "benchmarks.contenders.pixyz_step"),
    "sgc-bf16": Entry(
        "sgc, precision: bf16-mixed", "benchmarks.contenders.sgc_step", "precision=bf16-mixed", asked=True
    ),
    "sgc-compiled": Entry("sgc, compile: true", "benchmarks.contenders.sgc_step", "compile=true", asked=True),
}
PEERS = [name for name, entry in ENTRIES.items() if not entry.asked]
