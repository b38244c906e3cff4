import json

import pytest

from runtimes.plain_json import Tensor, parse_request

TENSOR = {"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [1, 2.5]}


def read(**changes: object) -> object:
    return parse_request(json.dumps({"inputs": [TENSOR], **changes}).encode())


def test_a_plain_request_is_read_as_it_stands() -> None:
    request = parse_request(json.dumps({"id": "r-1", "inputs": [TENSOR]}).encode())
    assert request is not None
    assert request.request_id == "r-1"
    assert request.inputs == [Tensor("features", [1, 2], "FP32", [1, 2.5])]
    assert request.outputs == []


def test_outputs_are_read_by_name() -> None:
    request = parse_request(json.dumps({"inputs": [], "outputs": [{"name": "label"}]}).encode())
    assert request is not None
    assert request.outputs == ["label"]


def test_empty_parameters_ask_for_nothing() -> None:
    assert read(parameters={}, inputs=[{**TENSOR, "parameters": {}}]) is not None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"null", b"\xff", b'{"inputs": NaN}', b'{"inputs": [1]}']
)
def test_what_is_no_request_is_left_to_mlserver(body: bytes) -> None:
    assert parse_request(body) is None


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
        {"inputs": [{"name": "features"}]},
        {"outputs": ["label"]},
        {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]},
        {"outputs": [{"name": None}]},
        {"outputs": {}},
    ],
)
def test_what_is_more_than_plain_is_left_to_mlserver(changes: dict[str, object]) -> None:
    assert read(**changes) is None
