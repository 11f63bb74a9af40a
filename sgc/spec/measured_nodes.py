"""The metric of each node, and the description of a node that a metric gets before there are data."""

from __future__ import annotations

from sgc.errors import OutlineFault, UsageError
from sgc.metrics.metric import MeasuredNode, Metric
from sgc.metrics.metrics import METRICS, default, possible
from sgc.metrics.own_metric import OwnMetric, refusal
from sgc.own_code import OwnCode
from sgc.spec.findings import Findings
from sgc.spec.outline import Outline, Variable
from sgc.spec.resolver import Resolver
from sgc.spec.spec import Spec


def measured_node(spec: Spec, name: str, variable: Variable) -> MeasuredNode:
    """Describe a node to a metric. name: as data know it; variable: for a node of a repeat, that of one step."""
    column = None if spec.data is None else spec.data.columns.get(name)
    steps = () if column is None else column.transforms
    return MeasuredNode(
        name=name,
        support=variable.support,
        event=variable.event,
        categories=variable.categories,
        named=any(step.reads_names is not None for step in steps),
        points=any(step.points for step in steps),
    )


def metric_of(outline: Outline, name: str) -> Metric:
    """Return the metric of a node, by outer name: as its spec says, or the usual one.

    Raises: UsageError, if it is own code that is not trusted or not a metric.
    """
    spec = outline.spec
    chosen = spec.evaluate.metrics.get(name)
    if chosen is None:
        return default(measured(outline, name))
    return _metric(spec, chosen)


def measured(outline: Outline, name: str) -> MeasuredNode:
    """Describe a node of an outline, by outer name, to a metric."""
    flat = outline.stepped[name].nodes[0] if name in outline.stepped else name
    return measured_node(outline.spec, name, outline.variables[flat])


def _metric(spec: Spec, chosen: str | OwnMetric) -> Metric:
    if isinstance(chosen, OwnMetric):
        return chosen.load(OwnCode(chosen.python, spec.folder, spec.trusted))
    return METRICS[chosen]


def check_suited(spec: Spec, findings: Findings, names: list[str]) -> None:
    """Find metrics that do not suit their nodes, and own code that is no metric. names: of the nodes."""
    resolver = Resolver(spec)
    for name in names:
        path, flat = ("evaluate", "metrics", name), spec.unrolled.nodes.get(name, (name,))[0]
        chosen = spec.evaluate.metrics.get(name)
        own = isinstance(chosen, OwnMetric)
        if chosen is None or findings.hurt(*path) or (own and not spec.trusted):
            continue
        try:
            metric = _metric(spec, chosen)
            if findings.hurt("nodes", flat) or findings.hurt("data", "columns", name):
                continue
            node = measured_node(spec, name, resolver.variable(flat))
            why = refusal(chosen.python, metric, node) if isinstance(chosen, OwnMetric) else metric.refuse(node)
        except UsageError as problem:
            findings.add((*path, "python"), str(problem))
        except OutlineFault:
            continue  # the node has a fault of its own
        else:
            if why:
                hint = f"allowed: {', '.join(possible(node))}"
                findings.add(path, f"'{name}' cannot be measured by '{metric}': {why}", hint)
