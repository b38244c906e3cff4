"""Columns of categories and of whole numbers: which values are read, and how others are refused."""

import json
import math
from typing import Any

import numpy as np
import pytest
from mlserver.grpc import dataplane_pb2 as pb

from abserve.schema import Feature, Schema
from runtimes.grpc_messages import read_request, to_parameter
from runtimes.inference import Tensor
from runtimes.raw_tensors import unpack
from runtimes.refusals import RefusedError
from runtimes.tabular.rows import TableReader
from tests.runtimes.category_versions import COLOURS, FEATURES

SIZE = Tensor("size", [2], "FP64", [1.5, 2.5])
ROOMS = Tensor("rooms", [2], "INT32", [3, 4])


@pytest.fixture(scope="module")
def reader() -> TableReader:
    return TableReader(Schema.model_validate({"features": FEATURES}))


def colours(data: Any, shape: list[int] | None = None, datatype: str = "BYTES") -> Tensor:
    return Tensor("colour", shape or [len(data)], datatype, data)


def read_colours(reader: TableReader, *arguments: Any) -> list[float]:
    return reader.read([SIZE, ROOMS, colours(*arguments)])[:, 2].tolist()


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_a_category_is_sent_as_its_text(reader: TableReader, shape: list[int]) -> None:
    assert read_colours(reader, ["dark blue", "red"], shape) == [2, 0]


def test_texts_may_be_nested(reader: TableReader) -> None:
    assert read_colours(reader, [["green"], ["red"]], [2, 1]) == [1, 0]


def test_texts_may_be_bytes(reader: TableReader) -> None:
    assert read_colours(reader, ["größer".encode(), b"red"]) == [3, 0]


def test_binary_texts_are_read(reader: TableReader) -> None:
    raw = b"\x05\0\0\0green\x03\0\0\0red"
    assert read_colours(reader, unpack("colour", "BYTES", [2], raw)) == [1, 0]


def test_texts_over_grpc_are_read(reader: TableReader) -> None:
    request = pb.ModelInferRequest(model_name="iris")
    for name, shape in (("size", [1]), ("rooms", [1]), ("colour", [1, 1])):
        request.inputs.add(name=name, datatype="FP32", shape=shape)
    request.inputs[0].contents.fp32_contents.append(1.5)
    request.inputs[1].contents.fp32_contents.append(3)
    request.inputs[2].datatype = "BYTES"
    request.inputs[2].contents.bytes_contents.append(b"green")
    assert reader.read(read_request(request).inputs).tolist() == [[1.5, 3, 1]]


@pytest.mark.parametrize("datatype", ["INT64", "FP32", "UINT8"])
def test_a_category_may_be_sent_as_its_number(reader: TableReader, datatype: str) -> None:
    assert read_colours(reader, [2, 0], [2], datatype) == [2, 0]


def test_the_matrix_has_the_numbers_of_categories(reader: TableReader) -> None:
    rows = reader.read([Tensor("features", [1, 3], "FP32", [1.5, 3, 2])])
    assert rows.tolist() == [[1.5, 3, 2]]


def test_a_category_that_may_be_missing_is_null() -> None:
    feature = {"name": "colour", "type": "category", "categories": COLOURS, "missing": "allow"}
    reader = TableReader(Schema.model_validate({"features": [feature]}))
    read = reader.read([colours([None, "green"])])
    assert math.isnan(read[0, 0])
    assert read[1, 0] == 1


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        (
            ["red", "gren"],
            [2],
            r"input 'colour' holds 'gren' in row 1 \(from 0\), which is no category, did you mean "
            r"'green'\? expected one of red, green, dark blue, größer$",
        ),
        (["red", b"gren"], [2], r"holds b'gren' in row 1 .*, did you mean 'green'\?"),
        (["red", "RED"], [2], r"holds 'RED' in row 1 \(from 0\), which is no category; expected"),
        (["red", ""], [2], r"holds '' in row 1 .*, which is no category; expected one of red"),
        (["red", " red"], [2], r"did you mean 'red'\?"),
        (["red", "x" * 10_000_000], [2], r"holds 'x{59}\.\.\. in row 1"),
        (["red", b"\xff\xfe"], [2], r"holds b'\\xff\\xfe' in row 1 .*, which is no category"),
        (["red", "\ud800"], [2], r"holds '\\ud800' in row 1"),
        (["red", None], [2], r"holds null in row 1 \(from 0\); expected one of red"),
        (["red", 1], [2], r"holds 1 in row 1 \(from 0\); expected one of red, green"),
        (["red", True], [2], r"holds a boolean in row 1"),
        (["red", ["red"]], [2], r"holds a list in row 1"),
        (["red", {}], [2], r"holds an object in row 1"),
        (["red"], [2], r"has shape \[2\] but 1 values; expected 2"),
        (["red"] * 3, [2, 1], r"has shape \[2, 1\] but 3 values; expected 2"),
        ([["red", "red"]], [1, 1], "row 0 .* of its nested data is 2 values"),
        ("red", [2], "the data of input 'colour' is a string; expected a list"),
        ([], [0], "expected at least one row"),
        (["red", "red"], [1, 2], r"has shape \[1, 2\]; expected \[n, 1\] or \[n\]"),
        (["red"] * 3, [3], "'size' has 2 rows and input 'colour' has 3"),
    ],
)
def test_what_is_no_category_is_refused(
    reader: TableReader, data: Any, shape: list[int], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        read_colours(reader, data, shape)


def test_too_many_categories_are_refused_before_they_are_read(reader: TableReader) -> None:
    with pytest.raises(RefusedError, match="may have at most 10000") as refused:
        read_colours(reader, ["nothing"] * 10_001)
    assert refused.value.status_code == 413


@pytest.mark.parametrize("number", [-1, 4, 1e9])
def test_a_number_that_stands_for_no_category_is_refused(
    reader: TableReader, number: float
) -> None:
    with pytest.raises(RefusedError, match=r"'colour' is .* in row 1 .* in \[0, 3\]"):
        read_colours(reader, [0, number], [2], "FP64")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1.5, 3.25, 1], r"column 'rooms' is 3\.25 in row 1 \(from 0\); expected a whole number"),
        ([1.5, 3, 0.5], r"column 'colour' is 0\.5 in row 1 \(from 0\); expected a whole number"),
        ([1.5, -0.5, 0.5], r"column 'rooms' is -0\.5 in row 1"),
    ],
)
def test_a_fraction_is_refused_where_whole_numbers_are_expected(
    reader: TableReader, row: list[float], message: str
) -> None:
    with pytest.raises(RefusedError, match=message):
        reader.read([Tensor("features", [2, 3], "FP64", [0.5, 2, 1, *row])])


@pytest.mark.parametrize("whole", [0, -3, 2**24, 1e30, math.nan])
def test_whole_and_missing_numbers_are_read(reader: TableReader, whole: float) -> None:
    rows = reader.read([Tensor("features", [1, 3], "FP64", [0.5, whole, 1])])
    np.testing.assert_array_equal(rows[:, 1], np.float32([whole]))


def test_texts_are_for_categories_alone(reader: TableReader) -> None:
    with pytest.raises(RefusedError, match="input 'size' has datatype 'BYTES'; expected a numeric"):
        reader.read([Tensor("size", [2], "BYTES", ["1", "2"]), ROOMS, colours(["red", "red"])])


def test_a_matrix_of_texts_is_refused(reader: TableReader) -> None:
    with pytest.raises(RefusedError, match="input 'features' has datatype 'BYTES'"):
        reader.read([Tensor("features", [1, 3], "BYTES", ["1", "2", "red"])])


def test_metadata_name_the_categories(reader: TableReader) -> None:
    (matrix,) = reader.metadata()
    assert (matrix.datatype, matrix.shape) == ("FP32", [-1, 3])
    assert matrix.parameters.model_dump(exclude_none=True) == {
        "content_type": "np",
        "columns": ["size", "rooms", "colour"],
        "categories": {"colour": COLOURS},
    }
    over_grpc = to_parameter(matrix.parameters.categories).string_param
    assert json.loads(over_grpc) == {"colour": COLOURS}


def test_only_categories_have_the_content_type_of_texts(reader: TableReader) -> None:
    plain = TableReader(Schema(features=(Feature(name="size"),)))
    assert reader.content_types - plain.content_types == {"str"}
    assert "categories" not in plain.metadata()[0].parameters.model_dump()
