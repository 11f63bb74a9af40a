"""Write the parts of pages that follow from the code: tables of keys, families, layers, estimators, commands.

A part stands between `<!-- begin NAME … -->` and `<!-- end -->`. `python docs/make_pages.py` writes them all anew, and
a test compares. Pages of the gallery, one for each spec under specs/, are written when Sphinx makes pages.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from sgc.data.label_fields import LabelRule, Split  # noqa: E402 - found by the path above
from sgc.data.sources.source import Column, Parts, Section  # noqa: E402
from sgc.data.sources.source_section import SOURCES  # noqa: E402
from sgc.data.transforms.image_transforms import Window as CropWindow  # noqa: E402
from sgc.data.transforms.transforms import TRANSFORMS  # noqa: E402
from sgc.distributions.constraints import CONSTRAINTS  # noqa: E402
from sgc.distributions.families import FAMILIES, option_ranges  # noqa: E402
from sgc.distributions.family import Family  # noqa: E402
from sgc.distributions.own_family import OwnFamily  # noqa: E402
from sgc.distributions.views import CENTRED, CIRCULAR, LOG1P  # noqa: E402
from sgc.distributions.zero_inflated import OF  # noqa: E402
from sgc.metrics.metrics import METRICS  # noqa: E402
from sgc.networks.entries import ENTRIES, Convolutions, Stages, Window  # noqa: E402
from sgc.networks.layers import LAYERS  # noqa: E402
from sgc.objectives.bounds import BOUNDS  # noqa: E402
from sgc.objectives.estimators import ESTIMATORS, possible  # noqa: E402
from sgc.objectives.gradient import GRADIENTS  # noqa: E402
from sgc.objectives.objective import Objective, OverRate  # noqa: E402
from sgc.own_code import OwnObject  # noqa: E402
from sgc.piece import Piece  # noqa: E402
from sgc.report.json_schema import _Written  # noqa: E402
from sgc.schedules import Schedule  # noqa: E402
from sgc.spec import conditionals, pieces, training_section  # noqa: E402
from sgc.spec.spec import Spec  # noqa: E402
from sgc.trackers.trackers import TRACKERS  # noqa: E402

# The pieces whose keys stand in tables, by the name that pages give them.
PIECES: dict[str, type[Piece]] = {
    "Spec": Spec,
    "Section": Section,
    "Column": Column,
    "Split": Split,
    "LabelRule": LabelRule,
    "Parts": Parts,
    "CropWindow": CropWindow,
    "Node": pieces.Node,
    "Generative": conditionals.Generative,
    "Recognition": conditionals.Recognition,
    "Expert": conditionals.Expert,
    "DerivedRecognition": pieces.DerivedRecognition,
    "LearnedConstant": conditionals.LearnedConstant,
    "Input": pieces.Input,
    "Feature": pieces.Feature,
    "Carry": pieces.Carry,
    "Repeat": pieces.Repeat,
    "Part": pieces.Part,
    "OwnFamily": OwnFamily,
    "OwnObject": OwnObject,
    "Stages": Stages,
    "Convolutions": Convolutions,
    "Window": Window,
    "Objective": Objective,
    "OverRate": OverRate,
    "Schedule": Schedule,
    "Train": training_section.Train,
    "BatchSizes": training_section.BatchSizes,
    "Optimizer": training_section.Optimizer,
    "Stop": training_section.Stop,
    "Average": training_section.Average,
    "Evaluate": training_section.Evaluate,
}
for _name, _kind in (
    *SOURCES.items(),
    *TRANSFORMS.items(),
    *ENTRIES.items(),
    *ESTIMATORS.items(),
    *TRACKERS.items(),
):
    PIECES.setdefault(_kind.__name__ if _kind.__name__ not in PIECES else f"{_kind.__name__}:{_name}", _kind)

# What a value that is a piece, or one of several, is called, and where it is explained.
LINKS = {
    "Pathwise": "an [estimator](estimators.md)",
    "Mlp": "a [network](networks.md)",
    "Divide": "[transform](data.md#transforms)",
    "Linear": "[layer](networks.md#layers-of-the-table)",
    "Digits": "a [source and its columns](data.md)",
    "TensorBoard": "[tracker](training.md#trackers)",
    "Schedule": "a [schedule](schedules.md)",
    "OwnBound": "a class of your [own](own-code.md)",
    "OwnMetric": "a class of your [own](own-code.md)",
    "OwnFamily": "a class of your [own](own-code.md)",
    "LearnedConstant": "`{start: …}` to [learn](nodes.md#parameters) one",
    "OverRate": "`{over_rate: …}`",
    "Generative": "a [conditional](nodes.md#the-two-conditionals)",
    "Expert": "[expert](nodes.md#experts)",
    "Recognition": "a [conditional](nodes.md#the-two-conditionals)",
    "DerivedRecognition": "`{parents: auto, network: …}`",
    "Node": "[node](nodes.md)",
    "Input": "[input](nodes.md#inputs)",
    "Feature": "[feature](nodes.md#features)",
    "Carry": "[state](repeats.md#carry)",
    "Repeat": "[repeat](repeats.md)",
    "Part": "[part](repeats.md#parts)",
    "Column": "[column](data.md#columns)",
    "Split": "a [split](data.md#split)",
    "LabelRule": "[rule](data.md#labels)",
    "Parts": "`{train: FILE, test: FILE}`",
    "IdxParts": "`{train: {COLUMN: FILE}, test: …}`",
    "Objective": "an [objective](objective.md)",
    "Train": "[training](training.md)",
    "Evaluate": "[evaluation](training.md#evaluation)",
    "Optimizer": "an [optimiser](training.md#the-optimiser)",
    "BatchSizes": "`{unlabelled: …, labelled: …}`",
    "Stop": "`{patience: …}`",
    "Average": "[`{decay: …, from: …}`](training.md#averaged-weights)",
    "Convolutions": "[channels, kernel, stride](networks.md#convolutions)",
    "Window": "a [window](networks.md#windows)",
}
# Values whose schema says more than a table can hold.
SAID = {
    "network": "a [network](networks.md), a list of them, or the name of a shared one",
    "Spec.networks": "by name: [network](networks.md), or a list of them",
    "Spec.data": "a [source and its columns](data.md)",
    "Node.distribution": "a [family](families.md), or a class of your [own](own-code.md)",
    "estimator": "an [estimator](estimators.md), or a class of your [own](own-code.md)",
    "parameters": (
        "by name: number, [schedule](schedules.md), list of numbers, `{start: …}`, or a feature, node or input"
    ),
    "OwnFamily.parameters": "by name: one of the [sets](families.md#sets-of-parameters)",
    "Layers.layers": "list of [layers](networks.md#layers-of-the-table)",
    "Train.category_weights": "`balanced`, list of numbers ≥ 0, or either by name of a node",
    "Section.labels": "by name of a node: [rule](data.md#labels)",
}
LARGEST = 10_000_000  # an end of a range that is there for safety, which no page names
NO_DEFAULT = object()


# ---- keys


def _key(field: str, info: Any) -> str:  # Any: pydantic's facts of a field
    return info.alias or field


@cache
def schema_of(kind: type[Piece]) -> dict[str, Any]:
    """Give the JSON Schema of a piece, with those of the pieces in it under `$defs`."""
    return kind.model_json_schema(by_alias=True, schema_generator=_Written)


def properties_of(kind: type[Piece]) -> dict[str, Any]:
    """Give the schema of each key of a piece; of a kind that is written by its name, of its options."""
    schema = schema_of(kind)
    if "$ref" in schema:  # a piece that may stand in itself
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    for form in (schema, *schema.get("anyOf", [])):
        found = form.get("properties", {})
        inner = found.get(getattr(kind, "name", ""), {})
        for options in (inner, *inner.get("anyOf", [])):
            if options.get("type") == "object" and "properties" in options and set(found) == {kind.name}:
                return dict(options["properties"])
        if found:
            return dict(found)
    return {}


def value_words(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """Say in words what a key may be, from its schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        short = name.rpartition("__")[2]
        return LINKS.get(short) or value_words(defs[name], defs)
    for word in ("Pathwise", "Mlp", "Divide", "Linear", "Digits", "TensorBoard"):
        if any(branch.get("$ref", "").rpartition("__")[2].endswith(word) for branch in schema.get("anyOf", ())):
            return LINKS[word]
    if "anyOf" in schema:
        branches = [value_words(branch, defs) for branch in schema["anyOf"]]
        return " or ".join(dict.fromkeys(branches))
    if "const" in schema:
        return f"`{_plain(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{_plain(word)}`" for word in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        many = f" of {low}" if low and low == high else f", at least {low}" if low > 1 else ""
        items = value_words(schema.get("items", {}), defs)
        items = "numbers" if items == "anything" else re.sub(r"\b(integer|number|string|boolean)\b", r"\1s", items)
        return f"list of {_bare(items)}{many}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        if isinstance(inner, dict):
            return f"by name: {_bare(value_words(inner, defs))}"
        return "mapping"
    return f"{kind}{_range(schema)}"


def _bare(words: str) -> str:
    return re.sub(r"^an? (?=\[)", "", words)


def _range(schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    words = []
    if above is not None:
        words.append(f"> {above:,}")
    elif low is not None:
        words.append(f"≥ {low:,}")
    if below is not None:
        words.append("< 2³¹" if below == 2**31 else f"< {below:,}")
    elif high is not None and high < LARGEST:
        words.append(f"≤ {high:,}")
    return " " + ", ".join(words) if words else ""


def _plain(value: Any) -> str:  # Any: plain data
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip().removesuffix("...").strip()


def default_words(kind: type[Piece], field: str) -> str:
    """Say what a key is where it is left out."""
    info = kind.model_fields[field]
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return "—"
    if isinstance(value, Piece):
        return "its own defaults"
    return f"`{_plain(list(value) if isinstance(value, tuple) else value)}`"


def keys_table(name: str, *only: str) -> str:
    """Write the table of the keys of a piece: value, default, meaning, example."""
    kind = PIECES[name]
    schemas = properties_of(kind)
    defs = schema_of(kind).get("$defs", {})
    lines = ["| key | value | if left out | meaning |", "|---|---|---|---|"]
    for field, info in kind.model_fields.items():
        key = _key(field, info)
        if only and key not in only:
            continue
        words = SAID.get(f"{name}.{key}") or SAID.get(key) or value_words(schemas[key], defs)
        examples = ", ".join(f"`{key}: {_plain(value)}`" for value in info.examples or ())
        about = (info.description or "").replace("|", "\\|")
        meaning = f"{about}<br>{examples}" if examples else about
        lines.append(f"| `{key}` | {words} | {default_words(kind, field)} | {meaning} |")
    return "\n".join(lines)


# ---- tables of kinds


def doc(kind: type, *, whole: bool = False) -> str:
    """Give the first line of a class's docstring, or all of it, as Markdown."""
    text = inspect.cleandoc(kind.__doc__ or "")
    if not whole:
        return text.split("\n\n")[0].replace("\n", " ")
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", part) for part in text.split("\n\n"))


VIEWS = {LOG1P: "log(1 + value)", CIRCULAR: "its cosine and sine", CENTRED: "-1 (black) to 1 (white)"}
SETS = {
    "real": "any number",
    "real_vector": "a vector of any numbers",
    "circle": "an angle in radians",
    "positive": "above 0",
    "nonnegative": "0 or above",
    "bounded_below": "from `scale` up",
    "interval": "from `low` to `high`",
    "unit_interval": "0 to 1",
    "open_unit_interval": "between 0 and 1",
    "boolean": "0 or 1",
    "grey": "0 or 1, or grey values between, scored by cross-entropy",
    "integer_interval": "0 to `total_count`",
    "levels": "0 to `levels` - 1",
    "nonnegative_integer": "0, 1, 2, …",
    "positive_integer": "1, 2, …",
    "one_hot": "one of the categories",
    "simplex": "shares that sum to 1",
    "open_simplex": "shares above 0 that sum to 1",
    "multinomial": "counts that sum to `total_count`",
}


def families() -> str:
    """Write the table of families."""
    head = "family | parameters: their sets | values | networks read | estimators | KL | standard prior"
    lines = [f"| {head} |", "|" + "---|" * 7]
    for name, family in FAMILIES.items():
        options = "".join(f"<br>option `{option}`: {range_}" for option, range_ in option_ranges(family).items())
        parameters = _parameters(family)
        for word, form in family.forms.items():
            parameters += f"<br>`by: {word}`: {_parameters(form)}"
        if family.inflates:
            parameters = f"those of the family `{OF}`, here {parameters}"
        read = "one-hot" if family.support.categorical else VIEWS.get(family.support.view, "the value")
        standard = _standard(family)
        estimators = ", ".join(f"`{each}`" for each in _estimators(family))
        kl = "closed" if family.closed_kl else "sampled"
        cells = [f"`{name}`", parameters + options, SETS[family.support.word], read, estimators, kl, standard]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _parameters(family: Family) -> str:
    return ", ".join(
        f"{'**' if key in family.heads else ''}`{key}`{'**' if key in family.heads else ''}: {constraint.word}"
        for key, constraint in family.constraints.items()
    )


def _estimators(family: Family) -> list[str]:
    set_up = family.with_options({name: 3 for name, option in family.options.items() if option.default is None})
    event = set_up.event_shape((), 3) if set_up.support.categorical else ((3,) if set_up.event_dim else ())
    return possible(set_up, event)


def _standard(family: Family) -> str:
    if family.standard is None:
        return "none: give one"
    return ", ".join(f"`{key}: {value:g}`" for key, value in family.standard.items()) or "in the middle"


def constraints() -> str:
    """Write the table of the sets of parameters."""
    lines = ["| set | dimensions of a value | networks end with |", "|---|---|---|"]
    for word, constraint in CONSTRAINTS.items():
        ends = ", ".join(f"`{layer}`" for layer in constraint.layers) or "anything"
        lines.append(f"| `{word}` | {constraint.dims} | {ends} |")
    return "\n".join(lines)


LAYER_WORDS = {
    "Conv1d": "Convolve a signal [channels, length].",
    "Conv2d": "Convolve an image [channels, height, width].",
    "ConvTranspose1d": "Convolve a signal backwards (Zeiler et al. 2010).",
    "ConvTranspose2d": "Convolve an image backwards (Zeiler et al. 2010).",
    "MaxPool1d": "The largest number of each window of a signal.",
    "MaxPool2d": "The largest number of each window of an image.",
    "AvgPool1d": "The mean of each window of a signal.",
    "AvgPool2d": "The mean of each window of an image.",
    "AdaptiveAvgPool1d": "Means over as many windows as are asked for.",
    "AdaptiveAvgPool2d": "Means over as many windows as are asked for, on each side.",
    "AdaptiveMaxPool2d": "Maxima over as many windows as are asked for, on each side.",
}


def layers() -> str:
    """Write the table of layers with their arguments."""
    lines = ["| layer | arguments | what it does |", "|---|---|---|"]
    for name, kind in LAYERS.items():
        schemas, defs = properties_of(kind), schema_of(kind).get("$defs", {})
        arguments = []
        for field in kind.model_fields:
            default = default_words(kind, field)
            given = "" if default == "required" else f" ({default.replace('—', 'as `kernel_size`')})"
            arguments.append(f"`{field}`: {value_words(schemas[field], defs)}{given}")
        own = kind.__doc__ if "__doc__" in vars(kind) else None
        about = LAYER_WORDS.get(name) or (doc(kind) if own else "Element by element, as in `torch.nn`.")
        lines.append(f"| `{name}` | {'<br>'.join(arguments) or '—'} | {_cell(about)} |")
    return "\n".join(lines)


def entries() -> str:
    """Write a section for each entry of networks."""
    parts = []
    for name, kind in ENTRIES.items():
        stages = ", `activation`, `norm`, `dropout` beside it" if issubclass(kind, Stages) else ""
        keys = [key for key in kind.model_fields if key not in Stages.model_fields]
        table = keys_table(next(word for word, each in PIECES.items() if each is kind), *keys)
        parts.append(f"### {name}\n\n{doc(kind, whole=True)}{' Takes' + stages[1:] + '.' if stages else ''}\n\n{table}")
    return "\n\n".join(parts)


def transforms() -> str:
    """Write a section for each transform."""
    return "\n\n".join(f"### {name}\n\n{doc(kind, whole=True)}" for name, kind in TRANSFORMS.items())


def sources() -> str:
    """Write a section for each source, with the keys that not every source has."""
    parts = []
    for name, kind in SOURCES.items():
        keys = [key for key in kind.model_fields if key not in (*Section.model_fields, "source")]
        table = keys_table(next(word for word, each in PIECES.items() if each is kind), *keys) if keys else ""
        parts.append(f"### {name}\n\n{doc(kind, whole=True)}\n\n{table}".rstrip())
    return "\n\n".join(parts)


def estimators() -> str:
    """Write a section for each estimator, with its options."""
    parts = []
    for name, kind in ESTIMATORS.items():
        facts = {
            "enumerated": "Exact: a sum over every value.",
            "biased": "Biased, and tagged so by `inspect`; what else reads its draws is tagged too.",
            "sampled": "Unbiased.",
        }[kind.tag]
        families_of = [f"`{family}`" for family, facts_of in FAMILIES.items() if name in _estimators(facts_of)]
        suits = "every family" if len(families_of) == len(FAMILIES) else ", ".join(families_of)
        table = keys_table(next(word for word, each in PIECES.items() if each is kind)) if kind.model_fields else ""
        parts.append(f"## {name}\n\n{doc(kind, whole=True)}\n\n{facts} For {suits}.\n\n{table}".rstrip())
    return "\n\n".join(parts)


def trackers() -> str:
    """Write a section for each tracker, with its options."""
    parts = []
    for name, kind in TRACKERS.items():
        table = keys_table(kind.__name__) if kind.model_fields else ""
        brings = f"`pip install 'sgc[{kind.extra}]'`."
        parts.append(f"### {name}\n\n{doc(kind, whole=True)} {brings}\n\n{table}".rstrip())
    return "\n\n".join(parts)


def bounds() -> str:
    """Write the table of bounds."""
    lines = ["| bound | of a row | source |", "|---|---|---|"]
    for name, bound in BOUNDS.items():
        formula = (type(bound).__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()
        lines.append(f"| `{name}` | {_cell(formula)} | {_cell(bound.source)} |")
    return "\n".join(lines)


def gradients() -> str:
    """Write the table of gradients."""
    lines = ["| gradient | what it is | for | source |", "|---|---|---|---|"]
    for name, gradient in GRADIENTS.items():
        suits = ", ".join(f"`{bound}`" for bound in BOUNDS if not gradient.refuse(BOUNDS[bound]))
        lines.append(f"| `{name}` | {_cell(doc(type(gradient)))} | {suits} | {gradient.source or '—'} |")
    return "\n".join(lines)


def metrics() -> str:
    """Write the table of metrics."""
    lines = ["| metric | what it is | unit |", "|---|---|---|"]
    for name, metric in METRICS.items():
        lines.append(f"| `{name}` | {_cell(doc(type(metric)))} | {metric.unit or 'of the data'} |")
    return "\n".join(lines)


def index() -> str:
    """Write the index of all words of the language, with the places that explain each."""
    places: dict[str, dict[str, str]] = {}
    for page in sorted((DOCS / "language").glob("*.md")):
        if page.name == "keys.md":
            continue
        title, anchor = "", ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                title = line.lstrip("# ").strip()
                anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
                if title in SECTIONED:
                    places.setdefault(title, {})[f"{page.name}#{anchor}"] = page.stem.capitalize()
            elif row := re.match(r"\| `([\w.-]+)` \|", line):
                places.setdefault(row[1], {}).setdefault(f"{page.name}#{anchor}", title)
    lines = ["| word | explained under |", "|---|---|"]
    for word, found in sorted(places.items(), key=lambda pair: (pair[0].casefold(), pair[0])):
        lines.append(f"| `{word}` | {', '.join(f'[{title}]({goal})' for goal, title in found.items())} |")
    return "\n".join(lines)


SECTIONED = {*ENTRIES, *TRANSFORMS, *ESTIMATORS, *SOURCES}  # words that have a section of their own


def gallery() -> str:
    """Write the table of the shipped specs."""
    lines = ["| spec | what it is |", "|---|---|"]
    for path in sorted((DOCS.parent / "specs").glob("*.yaml")):
        about = yaml.safe_load(path.read_text(encoding="utf-8"))["description"]
        lines.append(f"| [`{path.stem}`](../../specs/{path.name}) | {_cell(about)} |")
    return "\n".join(lines)


# ---- commands


def commands() -> str:
    """Write a section for each command: what it does, its arguments and options, as its `--help` says."""
    import typer

    from sgc.cli.shell import app

    group = typer.main.get_command(app)
    parts = ["| command | does |", "|---|---|"]
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # of a group
        about = _cell(_first(command.help or ""))
        parts.append(f"| [`sgc {name}`](#sgc-{name}) | {about} |")
    text = "\n".join(parts)
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # of a group
        usage = " ".join(_piece(param) for param in command.params if not _is_help(param))
        head = f"sgc {name} {usage}".strip()
        text += f"\n\n## sgc {name}\n\n`{head}`\n\n{_paragraphs(command.help or '')}\n\n"
        if command.epilog:
            text += f"{_paragraphs(command.epilog)}\n\n"
        lines = ["| argument or option | what it says |", "|---|---|"]
        for param in command.params:
            if _is_help(param):
                continue
            words = ", ".join(f"`{word}`" for word in (*param.opts, *param.secondary_opts) if word.startswith("-"))
            shown = _metavar(param)
            label = f"`{shown}`" if not words else words + (f" `{shown}`" if shown else "")
            lines.append(f"| {_cell(label)} | {_cell(getattr(param, 'help', '') or '')} |")
        text += "\n".join(lines) if len(lines) > 2 else ""
    return re.sub(r"\n{3,}", "\n\n", text)


def _is_help(param: Any) -> bool:  # Any: click's
    return "--help" in param.opts


def _metavar(param: Any) -> str:  # Any: click's
    if getattr(param, "is_flag", False):
        return ""
    if param.metavar:
        return str(param.metavar)
    kind = param.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    return "NUMBER" if kind in (int, float) else "TEXT"


def _piece(param: Any) -> str:  # Any: click's
    if param.param_type_name == "argument":
        return _metavar(param) if param.required else f"[{_metavar(param)}]"
    word = max(param.opts, key=len) if len(param.opts) > 1 and len(param.opts[0]) > 2 else param.opts[0]
    many = " …" if param.multiple else ""
    return f"[{word}{' ' + _metavar(param) if _metavar(param) else ''}]{many}"


def _first(text: str) -> str:
    return re.sub(r"\s+", " ", inspect.cleandoc(text).split("\n\n")[0]).strip()


def _paragraphs(text: str) -> str:
    """Write the help of a command as Markdown; what is indented, or an example, as code."""
    parts = []
    for part in inspect.cleandoc(text).replace("\b", "").split("\n\n"):
        lines = [line.strip() for line in part.strip("\n").split("\n") if line.strip()]
        if any(line.lstrip("$ ").startswith("sgc ") for line in lines):
            lines = [f"`{line.lstrip('$ ')}`" if line.lstrip("$ ").startswith("sgc ") else line for line in lines]
            parts.append("<br>".join(lines))
        else:
            parts.append(" ".join(lines))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


# ---- pages

PARTS: dict[str, Callable[..., str]] = {
    "keys": keys_table,
    "families": families,
    "constraints": constraints,
    "layers": layers,
    "entries": entries,
    "transforms": transforms,
    "sources": sources,
    "estimators": estimators,
    "trackers": trackers,
    "bounds": bounds,
    "gradients": gradients,
    "metrics": metrics,
    "gallery": gallery,
    "index": index,
    "commands": commands,
}
PART = re.compile(r"(<!-- begin (\w+)([^>\n]*?) -->\n)(?:(?!<!-- begin ).)*?(<!-- end -->)", flags=re.DOTALL)


def written(page: str) -> str:
    """Give a page with its parts written anew."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{PARTS[match[2]](*match[3].split())}\n\n{match[4]}"

    return PART.sub(fill, page)


def pages() -> Iterator[Path]:
    """List the pages that have parts; the index of keys, which reads the others, comes last."""
    found = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
    found = [page for page in found if page.parent.name != "gallery" or page.name == "index.md"]
    yield from (page for page in found if page.name != "keys.md")
    yield from (page for page in found if page.name == "keys.md")


def main() -> None:
    """Write the parts of all pages anew."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        anew = written(text)
        if anew != text:
            page.write_text(anew, encoding="utf-8")
            print(page.relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
