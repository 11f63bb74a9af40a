"""Sentences about a plan that name its nodes: data, worded by whoever shows the plan."""

from __future__ import annotations

from dataclasses import dataclass

from sgc.objectives.expressions import LabelScore


@dataclass(frozen=True)
class Message:
    """A sentence with blanks: `{node}` for a node, `{factor}` for a label's factor, `{carriers}` for what it reads.

    A node of a repeat is called otherwise where all its steps are shown as one, so names are put in last.
    """

    words: str
    node: str = ""
    label: LabelScore | None = None
