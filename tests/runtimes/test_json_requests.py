import json

import pytest

from runtimes.json_requests import parse_plain

TENSOR = {"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}


def read(**changes: object) -> object:
    return parse_plain(json.dumps({"inputs": [TENSOR], **changes}).encode())


def test_a_plain_request_is_read_as_it_stands() -> None:
    request = parse_plain(json.dumps({"id": "r-1", "inputs": [TENSOR]}).encode())
    assert request is not None
    assert request.request_id == "r-1"
    name, shape, datatype, numbers = request.inputs[0]
    assert (name, shape, datatype) == ("features", [1, 2], "FP32")
    assert numbers.tolist() == [1.0, 2.5]
    assert request.outputs == []


def test_nested_rows_are_read_one_after_the_other() -> None:
    tensor = {**TENSOR, "shape": [2, 2], "data": [[1, 2.5], [3, 4]]}
    request = parse_plain(json.dumps({"inputs": [tensor]}).encode())
    assert request is not None
    assert request.inputs[0].data.tolist() == [1.0, 2.5, 3.0, 4.0]


def test_outputs_are_read_by_name() -> None:
    request = parse_plain(json.dumps({"inputs": [], "outputs": [{"name": "label"}]}).encode())
    assert request is not None
    assert request.outputs == ["label"]


def test_empty_parameters_ask_for_nothing() -> None:
    assert read(parameters={}, inputs=[{**TENSOR, "parameters": {}}]) is not None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"null", b"\xff", b'{"inputs": NaN}', b'{"inputs": [1]}']
)
def test_what_is_no_request_is_left_to_mlserver(body: bytes) -> None:
    assert parse_plain(body) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 7},
        {"parameters": {"content_type": "np"}},
        {"extra": 1},
        {"inputs": None},
        {"inputs": [{**TENSOR, "parameters": {"content_type": "np"}}]},
        {"inputs": [{**TENSOR, "extra": 1}]},
        {"inputs": [{**TENSOR, "name": 1}]},
        {"inputs": [{**TENSOR, "shape": ["1", "2"]}]},
        {"inputs": [{**TENSOR, "shape": [True, 2]}]},
        {"inputs": [{**TENSOR, "shape": [1.0, 2]}]},
        {"inputs": [{**TENSOR, "shape": 2}]},
        {"inputs": [{**TENSOR, "datatype": None}]},
        {"inputs": [{**TENSOR, "data": {"a": 1}}]},
        {"inputs": [{**TENSOR, "data": [1, None]}]},
        {"inputs": [{**TENSOR, "data": [1, True]}]},
        {"inputs": [{**TENSOR, "data": [1, "2"]}]},
        {"inputs": [{**TENSOR, "data": [1, [2]]}]},
        {"inputs": [{**TENSOR, "data": [[1, 2], [3]]}]},
        {"inputs": [{"name": "features"}]},
        {"outputs": ["label"]},
        {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]},
        {"outputs": [{"name": None}]},
        {"outputs": {}},
    ],
)
def test_what_is_more_than_plain_is_left_to_mlserver(changes: dict[str, object]) -> None:
    assert read(**changes) is None
