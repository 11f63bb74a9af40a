"""The grammar of a data section: what it takes, where its faults are placed, and that it survives being written out."""

from __future__ import annotations

import json

import pytest
import yaml
from data_files import SECTION, section
from pydantic import ValidationError

from sgc.data.sources.source_section import SOURCES
from sgc.data.transforms.angle_transforms import Angle, Direction
from sgc.data.transforms.image_transforms import Crop, Resize, Window
from sgc.data.transforms.transforms import TRANSFORMS, Binarize, Divide, Flatten, MuLaw, OneOf, Standardize

COLUMNS = "columns: {x: {column: image}}"

WHOLE = {
    "idx": "{source: idx, root: mnist, columns: {x: {column: image, transforms: [{divide: 255}, {binarize: dynamic}]}, "
    "y: {column: label}}, split: {validation: 10000}, labels: {y: {count: 100, balanced: true}}}",
    "npz": "{source: npz, root: faces, file: faces.npz, columns: {x: {column: images, transforms: [{divide: 255}, "
    "{resize: [48, 42]}]}, i: {column: identity}, l: {column: light}}, split: {test: 0.2, validation: 0.1, "
    "stratify: identity, seed: 0}, labels: {i: {per_category: 6}, l: {same_rows_as: i}}}",
    "table": "{source: table, file: heart.csv, missing_values: ['', NA, '?', -9], columns: {v: {column: [age, rate], "
    "transforms: [standardize]}, d: {column: ill}}, split: {test: 40, group: patient}, labels: {d: {fraction: 0.2}}}",
    "mat": "{source: mat, root: svhn, files: {train: a.mat, test: b.mat}, rows: last, columns: {x: {column: X}}}",
    "images": "{source: images, file: scans.csv, path: scan, mode: grey, size: [8, 9], separator: ';', "
    "missing_values: [NA, -9], columns: {x: {column: image}}}",
    "mnist": "{source: mnist, columns: {x: {column: image}}, split: {validation: 10000}}",
    "fashion-mnist": "{source: fashion-mnist, columns: {x: {column: image}}}",
    "svhn": "{source: svhn, columns: {x: {column: X}, y: {column: y}}}",
    "python": "{source: python, python: mine.rows:Rows, options: {a: [1, 2.5, {b: null}]}, columns: {x: {column: c}}}",
    "digits": "{columns: {x: {column: image, transforms: [flatten, {binarize: 8}]}}, labels: {y: {rows: kept.txt}}}",
}


@pytest.mark.parametrize("source", WHOLE)
def test_a_section_reads_and_survives_being_written_out(source: str) -> None:
    data = section(WHOLE[source])
    assert type(data) is SOURCES[source]
    written = SECTION.dump_python(data, mode="json", exclude_none=True)
    assert SECTION.validate_python(json.loads(json.dumps(written))) == data


def test_transforms_read_in_each_of_their_forms() -> None:
    binarize = "{binarize: static}, {binarize: 0.5}, {binarize: dynamic}"
    text = f"[{{divide: 2}}, {{mu_law: 100}}, flatten, {{resize: [2, 3]}}, standardize, {binarize}]"
    data = section(f"{{columns: {{x: {{column: a b.c, transforms: {text}}}}}}}")
    assert data.columns["x"].transforms == (
        Divide(divide=2),
        MuLaw(mu_law=100),
        Flatten(),
        Resize(resize=(2, 3)),
        Standardize(),
        Binarize(binarize="static"),
        Binarize(binarize=0.5),
        Binarize(binarize="dynamic"),
    )
    assert data.columns["x"].names == ("a b.c",)


def test_later_transforms_read_in_each_of_their_forms() -> None:
    crops = "{crop: [2, 3]}, {crop: {size: [2, 3]}}, {crop: {size: [2, 3], from: [0, 4]}}"
    text = f"[{{one_of: [a, 1, 2.5, true]}}, {crops}, {{angle: degrees}}, {{angle: radians}}, {{direction: degrees}}]"
    data = section(f"{{columns: {{x: {{column: c, transforms: {text}}}}}}}")
    assert data.columns["x"].transforms == (
        OneOf(one_of=("a", 1, 2.5, True)),
        Crop(crop=(2, 3)),
        Crop(crop=Window(size=(2, 3))),
        Crop(crop=Window(size=(2, 3), **{"from": (0, 4)})),
        Angle(angle="degrees"),
        Angle(angle="radians"),
        Direction(direction="degrees"),
    )
    written = SECTION.dump_python(data, mode="json", by_alias=True, exclude_none=True)
    assert SECTION.validate_python(json.loads(json.dumps(written))) == data


def faults(text: str) -> list[tuple[str, str]]:
    """List each fault's place, without the tags of unions, and its type."""
    with pytest.raises(ValidationError) as caught:
        section(text)
    errors = caught.value.errors(include_url=False)
    return [
        (".".join(str(part) for part in each["loc"] if not str(part).startswith("<")), each["type"]) for each in errors
    ]


NEGATIVE = "greater_than_equal"
SECOND_TEST = ("split.test", "excluded_key")


def transforms(text: str) -> str:
    return f"{{columns: {{x: {{column: image, transforms: {text}}}}}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (transforms("[{divide: 0}]"), [("columns.x.transforms.0.divide", "greater_than")]),
        (transforms("[{divide: '3'}]"), [("columns.x.transforms.0.divide", "float_type")]),
        (transforms("[{divide: .nan}]"), [("columns.x.transforms.0.divide", "finite_number")]),
        (transforms("[divide]"), [("columns.x.transforms.0", "model_type")]),
        (transforms("[flatten, flaten]"), [("columns.x.transforms.1", "unknown_kind")]),
        (transforms("[{scale: 2}]"), [("columns.x.transforms.0", "unknown_kind")]),
        (transforms("[{divide: 2, by: 3}]"), [("columns.x.transforms.0.by", "extra_forbidden")]),
        (transforms("[{binarize: fast}]"), [("columns.x.transforms.0.binarize", "literal_error")]),
        (transforms("[{binarize: true}]"), [("columns.x.transforms.0.binarize", "float_type")]),
        (transforms("[{resize: [2]}]"), [("columns.x.transforms.0.resize", "too_short")]),
        (transforms("[{resize: [2, 0]}]"), [("columns.x.transforms.0.resize.1", "greater_than_equal")]),
        (transforms("[{binarize: dynamic}, {divide: 2}]"), [("columns.x.transforms", "transform_order")]),
        (transforms("[standardize, {resize: [2, 2]}]"), [("columns.x.transforms", "transform_order")]),
        (transforms("[{angle: degrees}, flatten, {resize: [2, 2]}]"), [("columns.x.transforms", "transform_order")]),
        (transforms("[{crop: [2]}]"), [("columns.x.transforms.0.crop", "too_short")]),
        (transforms("[{crop: 3}]"), [("columns.x.transforms.0.crop", "model_type")]),
        (transforms("[{crop: {from: [0, 0]}}]"), [("columns.x.transforms.0.crop.size", "missing")]),
        (transforms("[{crop: {size: [2, 2], from: [0, -1]}}]"), [("columns.x.transforms.0.crop.from.1", NEGATIVE)]),
        (transforms("[{angle: turns}]"), [("columns.x.transforms.0.angle", "literal_error")]),
        (transforms("[{direction: 3}]"), [("columns.x.transforms.0.direction", "literal_error")]),
        (transforms("[{one_of: [a]}]"), [("columns.x.transforms.0.one_of", "too_short")]),
        (transforms("[{one_of: [a, [b]]}]"), [("columns.x.transforms.0.one_of.1", "unknown_kind")]),
        (transforms("[flatten, {one_of: [a, b]}]"), [("columns.x.transforms", "transform_order")]),
        (transforms("flatten"), [("columns.x.transforms", "tuple_type")]),
        ("{columns: {x: {column: 3}}}", [("columns.x.column", "string_type")]),
        ("{columns: {x: {column: []}}}", [("columns.x.column", "too_short")]),
        ("{columns: {x: {column: [a, 3]}}}", [("columns.x.column.1", "string_type")]),
        ("{columns: {x: label}}", [("columns.x", "model_type")]),
        (f"{{source: mut, {COLUMNS}, split: {{seed: -1}}}}", [("split.seed", NEGATIVE), ("source", "unknown_name")]),
        (f"{{source: [idx], {COLUMNS}}}", [("source", "string_type")]),
        ("[]", [("", "model_type")]),
        (f"{{source: npz, {COLUMNS}}}", [("file", "missing")]),
        (f"{{source: npz, file: a, files: {{train: b}}, {COLUMNS}}}", [("files", "excluded_key")]),
        (f"{{source: npz, files: {{train: b}}, file: a, {COLUMNS}}}", [("file", "excluded_key")]),
        (f"{{source: idx, {COLUMNS}, split: {{test: 0.1}}}}", [SECOND_TEST]),
        (f"{{source: npz, files: {{train: a, test: b}}, {COLUMNS}, split: {{test: 3}}}}", [SECOND_TEST]),
        (f"{{source: table, file: a, separator: '::', {COLUMNS}}}", [("separator", "string_too_long")]),
        (f"{{source: mat, file: a, rows: middle, {COLUMNS}}}", [("rows", "literal_error")]),
        (f"{{source: images, mode: grey, {COLUMNS}}}", [("root", "missing")]),
        (f"{{source: images, root: a, {COLUMNS}}}", [("mode", "missing")]),
        (f"{{source: images, root: a, mode: gray, {COLUMNS}}}", [("mode", "literal_error")]),
        (f"{{source: images, root: a, mode: grey, size: [3], {COLUMNS}}}", [("size", "too_short")]),
        (f"{{source: images, root: a, mode: grey, size: [0, 3], {COLUMNS}}}", [("size.0", NEGATIVE)]),
        (f"{{source: images, root: a, mode: grey, files: {{train: b, test: c}}, {COLUMNS}, split: {{test: 3}}}}",
         [SECOND_TEST]),
        (f"{{source: mnist, {COLUMNS}, split: {{test: 3}}}}", [SECOND_TEST]),
        (f"{{source: svhn, root: a, {COLUMNS}}}", [("root", "extra_forbidden")]),
        (f"{{source: python, {COLUMNS}}}", [("python", "missing")]),
        (f"{{source: python, python: mine, {COLUMNS}}}", [("python", "import_path")]),
        (f"{{source: python, python: 'a:B', options: [1], {COLUMNS}}}", [("options", "dict_type")]),
        (f"{{{COLUMNS}, split: {{test: 1.0}}}}", [("split.test", "less_than")]),
        (f"{{{COLUMNS}, split: {{validation: -3}}}}", [("split.validation", NEGATIVE)]),
        (f"{{{COLUMNS}, split: {{test: true}}}}", [("split.test", "float_type")]),
        (f"{{{COLUMNS}, split: {{group: a, stratify: b}}}}", [("split.stratify", "excluded_key")]),
        (f"{{{COLUMNS}, labels: {{y: {{fraction: 0.1, count: 3}}}}}}", [("labels.y.count", "excluded_key")]),
        (f"{{{COLUMNS}, labels: {{y: {{rows: f, balanced: true}}}}}}", [("labels.y.balanced", "excluded_key")]),
        (f"{{{COLUMNS}, labels: {{y: {{seed: 1, same_rows_as: z}}}}}}", [("labels.y.same_rows_as", "excluded_key")]),
        (f"{{{COLUMNS}, labels: {{y: {{balanced: true}}}}}}", [("labels.y", "way_missing")]),
        (f"{{{COLUMNS}, labels: {{y: {{count: -1}}}}}}", [("labels.y.count", "greater_than_equal")]),
        (f"{{{COLUMNS}, labels: {{y: {{fraction: 2}}}}}}", [("labels.y.fraction", "less_than_equal")]),
        (f"{{{COLUMNS}, labels: {{y: {{count: 3.5}}}}}}", [("labels.y.count", "int_type")]),
    ],
)  # fmt: skip
def test_a_fault_is_one_error_at_its_place(text: str, expected: list[tuple[str, str]]) -> None:
    assert faults(text) == expected


def test_a_fault_says_what_excludes_what() -> None:
    with pytest.raises(ValidationError) as caught:
        section(f"{{{COLUMNS}, labels: {{y: {{count: 3, fraction: 0.5}}}}}}")
    assert caught.value.errors()[0]["msg"] == "'fraction' cannot stand beside 'count': leave out one"


def test_every_source_and_transform_is_a_branch_of_its_union() -> None:
    schema = json.dumps(SECTION.json_schema())
    for kind in (*SOURCES.values(), *TRANSFORMS.values()):
        assert f'"title": "{kind.__name__}"' in schema
    assert "Unknown" not in schema


def test_yaml_of_the_test_cases_is_yaml() -> None:
    assert all(isinstance(yaml.safe_load(text), dict) for text in WHOLE.values())
