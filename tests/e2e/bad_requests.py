"""Requests that a server must refuse, with the exact status of each: plain data.

A row is a name, a status, what is sent, and words that the message must hold: what it is about,
what was found there, and what was expected. `test_bad_requests.py` sends them. Names that clients
made up are `ROSE` and `NOPE`, so that they can be looked for where they must not be.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from grpc import StatusCode
from mlserver.grpc import dataplane_pb2 as pb

from tests.runtimes.versions import COLUMNS, SETOSA

ROSE, NOPE = "rose", "nope"
LONG = "x" * 5_000
LONGER = "x" * 100_000
LARGE = 17_000_000  # beyond the usual limit of a body, and of a message
DEEP = 5_000

INFER = "/v2/models/iris/infer"
FEEDBACK = "/v2/models/iris/feedback"
REQUEST: dict[str, Any] = {
    "id": "r-1",
    "inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": SETOSA}],
}
BODY = json.dumps(REQUEST).encode()
JSON = ("content-type: application/json",)
LENGTH, SIZE = "inference-header-content-length", "binary_data_size"


class Refused(NamedTuple):
    """A request as its bytes; `method` says whether the response has a body."""

    name: str
    status: int
    words: tuple[str, ...]
    sent: bytes
    method: str = "POST"


class RefusedFeedback(NamedTuple):
    """Feedback, whose body is made from a token that the server gave."""

    name: str
    status: int
    words: tuple[str, ...]
    body: Callable[[str], bytes]


class RefusedCall(NamedTuple):
    """A call over gRPC; `sent` is the message, or its bytes."""

    name: str
    status: StatusCode
    words: tuple[str, ...]
    sent: bytes
    method: str = "inference.GRPCInferenceService/ModelInfer"


def http(
    body: bytes = BODY,
    *headers: str,
    method: str = "POST",
    path: str = INFER,
    version: str = "1.1",
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: a", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(*chunks: bytes, head: str = "transfer-encoding: chunked") -> bytes:
    return f"POST {INFER} HTTP/1.1\r\nhost: a\r\n{JSON[0]}\r\n{head}\r\n\r\n".encode() + b"".join(
        chunks
    )


def wire(*lines: str, body: bytes = BODY) -> bytes:
    """Return a request whose head ends with `lines`."""
    head = (f"POST {INFER} HTTP/1.1", "host: a", *JSON, *lines)
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def as_body(name: str, status: int, /, *words: str, body: Any) -> Refused:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Refused(name, status, words, http(content, *JSON))


def as_request(name: str, status: int, /, *words: str, **changes: Any) -> Refused:
    """Return the good request with other fields."""
    return as_body(name, status, *words, body={**REQUEST, **changes})


def as_tensor(name: str, status: int, /, *words: str, **changes: Any) -> Refused:
    """Return the good request with an input of other fields; those that are `...` are left out."""
    tensor = {**REQUEST["inputs"][0], **changes}
    kept = {key: value for key, value in tensor.items() if value is not ...}
    return as_request(name, status, *words, inputs=[kept])


def as_number(name: str, literal: bytes, *words: str) -> Refused:
    """Return the good request with its first number written as `literal`."""
    return as_body(name, 400, *words, body=BODY.replace(b"5.1", literal))


def column(name: str, *values: Any, shape: Any = None) -> dict[str, Any]:
    shape = [len(values), 1] if shape is None else shape
    return {"name": name, "datatype": "FP32", "shape": shape, "data": list(values)}


VALUES = struct.pack("<4f", *SETOSA)


def as_binary(
    name: str,
    status: int,
    /,
    *words: str,
    head: bytes | None = None,
    values: bytes = VALUES,
    length: str | None = None,
    path: str = INFER,
    **changes: Any,
) -> Refused:
    """Return a request with its values in binary, of another head, or of an input so changed."""
    if head is None:
        tensor = {
            "name": "features",
            "datatype": "FP32",
            "shape": [1, 4],
            "parameters": {SIZE: len(values)},
            **changes,
        }
        head = json.dumps({"id": "b-1", "inputs": [tensor]}).encode()
    length = str(len(head)) if length is None else length
    headers = ("content-type: application/octet-stream", f"{LENGTH}: {length}")
    return Refused(f"binary: {name}", status, words, http(head + values, *headers, path=path))


def with_header(name: str, status: int, *words: str, header: str, body: bytes = BODY) -> Refused:
    return Refused(name, status, words, http(body, *JSON, header))


def with_type(name: str, content_type: str, body: bytes = BODY) -> Refused:
    sent = http(body, f"content-type: {content_type}")
    return Refused(f"content-type {name}", 415, ("content-type", "application/json"), sent)


def at(
    name: str, status: int, *words: str, path: str, method: str = "POST", body: bytes = BODY
) -> Refused:
    """Return the good request at another path or with another method."""
    return Refused(name, status, words, http(body, *JSON, path=path, method=method), method)


def raw(name: str, sent: bytes, *words: str) -> Refused:
    """Return bytes that are no HTTP; the connection cannot be used after them."""
    return Refused(f"wire: {name}", 400, words or ("HTTP",), sent)


def deep(before: bytes, after: bytes) -> bytes:
    return before + b"[" * DEEP + b"]" * DEEP + after


IN_PARAMETERS = (b'{"parameters":{"a":', b"}," + BODY[1:])
IN_INPUT_PARAMETERS = (
    b'{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"parameters":{"a":',
    b'},"data":[1,2,3,4]}]}',
)
IN_DATA = (b'{"inputs":[{"name":"features","datatype":"FP32","shape":[1,4],"data":', b"}]}")

NOT_JSON = [
    as_body("no body", 400, body=b""),
    as_body("a space", 400, "JSON", body=b" "),
    as_body("half an object", 400, "JSON", body=b"{"),
    as_body("a cut object", 400, "JSON", body=BODY[:-1]),
    as_body("a cut number", 400, "JSON", body=BODY[: BODY.index(b"5.1") + 2]),
    as_body("two objects", 400, "JSON", body=BODY + BODY),
    as_body("something after it", 400, "JSON", body=BODY + b" x"),
    as_body("a NUL after it", 400, "JSON", body=BODY + b"\0"),
    as_body("a byte order mark", 400, "JSON", body=b"\xef\xbb\xbf" + BODY),
    as_body("UTF-16", 400, "JSON", body=BODY.decode().encode("utf-16")),
    as_body("not UTF-8", 400, "JSON", body=BODY.replace(b"r-1", b"\xff")),
    as_body("not UTF-8 in the name", 400, "JSON", body=BODY.replace(b"features", b"\xff")),
    as_body("overlong UTF-8", 400, "JSON", body=BODY.replace(b"r-1", b"\xc0\xaf")),
    as_body("half a surrogate pair", 400, "JSON", body=BODY.replace(b"r-1", b"\\ud800")),
    as_body("a newline in a string", 400, "JSON", body=BODY.replace(b"r-1", b"r\n1")),
    as_body("an escape of no meaning", 400, "JSON", body=BODY.replace(b"r-1", b"\\x1")),
    as_body("single quotes", 400, "JSON", body=BODY.replace(b'"', b"'")),
    as_body("a trailing comma", 400, "JSON", body=BODY.replace(b"0.2]", b"0.2,]")),
    as_body("a comment", 400, "JSON", body=b"/* hello */" + BODY),
    as_body("HTML", 400, "JSON", body=b"<html></html>"),
    as_body("the body is null", 400, body=b"null"),
    as_body("the body is a number", 400, "object", body=b"5"),
    as_body("the body is a string", 400, "object", body=b'"x"'),
    as_body("the body is a list", 400, "object", body=b"[]"),
    as_body("the body is a deep list", 400, body=deep(b"", b"")),
    as_body("the body is a deep object", 400, "JSON", body=b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    as_body("deep data", 400, body=deep(*IN_DATA)),
    as_body("deep parameters", 400, body=deep(*IN_PARAMETERS)),
    as_body("deep parameters of an input", 400, body=deep(*IN_INPUT_PARAMETERS)),
    as_number("NaN", b"NaN", "JSON"),
    as_number("-Infinity", b"-Infinity", "JSON"),
    as_number("a number beyond a double", b"1e999"),
    as_number("a number in hexadecimal", b"0x10", "JSON"),
    as_number("a number with a leading zero", b"01", "JSON"),
    as_number("a number with a plus", b"+1", "JSON"),
    as_number("a number without an end", b"1e", "JSON"),
    as_number("a number without a beginning", b".5", "JSON"),
    as_number("an integer of 5000 digits", b"1" * 5_000),
]

NO_REQUEST = [
    as_body("an object without fields", 400, "inputs", body={}),
    as_request("inputs are null", 400, "inputs", inputs=None),
    as_request("inputs are a number", 400, "inputs", inputs=5),
    as_request("inputs are an object", 400, "inputs", inputs={}),
    as_request("no input", 400, "no inputs", "features", inputs=[]),
    as_request("an input is null", 400, "inputs", "object", inputs=[None]),
    as_request("an input is empty", 400, "inputs", "name", inputs=[{}]),
    as_request("an input is a list", 400, "inputs", "object", inputs=[[]]),
    as_request("a million faults", 400, "inputs", inputs=[5] * 1_000_000),
    as_request("the id is a number", 400, "id", "str", id=5),
    as_request("the id is an object", 400, "id", "str", id={}),
    as_request("the id has a line break", 400, "id", "a\\r\\nb: c", "ASCII", id="a\r\nb: c"),
    as_request("the id is no ASCII", 400, "id", "u2603", "ASCII", id="\u2603"),
    as_request("the id is a space", 400, "id", "' '", "ASCII", id=" "),
    as_request("the id ends with a space", 400, "id", "'a '", "space", id="a "),
    as_request("the id is too long", 400, "id", "xxx...", "128", id=LONG),
    as_request("outputs are a number", 400, "outputs", outputs=5),
    as_request("outputs are a name", 400, "outputs", outputs="label"),
    as_request("an output is null", 400, "outputs", "object", outputs=[None]),
    as_request("an output has no name", 400, "outputs", "name", outputs=[{}]),
    as_request("an output's name is a number", 400, "outputs", "name", outputs=[{"name": 5}]),
    as_request("an unknown output", 400, "'nope'", "label", outputs=[{"name": NOPE}]),
    as_request("an output with a long name", 400, "xxx...", "label", outputs=[{"name": LONG}]),
    as_request("an output of Python", 400, "'__class__'", "label", outputs=[{"name": "__class__"}]),
    as_request("parameters are a list", 400, "parameters", "object", parameters=[]),
    as_request(
        "an unknown content_type", 400, "'zzz'", "np", "pd", parameters={"content_type": "zzz"}
    ),
    as_request(
        "content_type is a number", 400, "content_type", "5", parameters={"content_type": 5}
    ),
]

WRONG_INPUTS = [
    as_tensor("the name is missing", 400, "name", name=...),
    as_tensor("the name is a number", 400, "name", "str", name=5),
    as_tensor("the name is empty", 400, "input ''", "'features'", name=""),
    as_tensor("an unknown name", 400, "input 'nope'", "'features'", name=NOPE),
    as_tensor("a name with a line break", 400, "input 'a\\n'", "'features'", name="a\n"),
    as_tensor("a long name", 400, "xxx...", "'features'", name=LONG),
    as_tensor("a name of 100 000 characters", 400, "xxx...", "'features'", name=LONGER),
    as_request("twice the same", 400, "'features'", "once", inputs=REQUEST["inputs"] * 2),
    as_request("a thousand times", 400, "'features'", "once", inputs=REQUEST["inputs"] * 1_000),
    as_request(
        "10 000 columns, two of one name",
        400,
        "'c9998'",
        "once",
        inputs=[column(f"c{i}", 1) for i in [*range(9_999), 9_998]],
    ),
    as_request(
        "100 000 columns",
        413,
        "100000 inputs",
        "10000",
        inputs=[column(f"c{i}", 1) for i in range(100_000)],
    ),
    as_request(
        "a column is missing",
        400,
        "'petal_width'",
        "sepal_length",
        inputs=[column(each, 1) for each in COLUMNS[:3]],
    ),
    as_request(
        "a column of one row more",
        400,
        "'sepal_length' has 1 rows",
        "'sepal_width' has 2",
        inputs=[column("sepal_length", 1), *(column(each, 1, 2) for each in COLUMNS[1:])],
    ),
    as_request(
        "columns of two values",
        400,
        "'sepal_length'",
        "[1, 2]",
        "[n, 1]",
        inputs=[column(each, 1, 2, shape=[1, 2]) for each in COLUMNS],
    ),
    as_request(
        "a matrix and a column",
        400,
        "'features' is not known",
        inputs=[*REQUEST["inputs"], column("sepal_length", 1)],
    ),
    as_tensor("the datatype is missing", 400, "datatype", datatype=...),
    as_tensor("the datatype is a number", 400, "datatype", datatype=5),
    as_tensor("the datatype in small letters", 400, "features", "'fp32'", "FP32", datatype="fp32"),
    as_tensor("a datatype of Triton", 400, "features", "'BF16'", "FP32", datatype="BF16"),
    as_tensor("a long datatype", 400, "features", "xxx...", "FP32", datatype=LONG),
    as_tensor("strings", 400, "'features'", "'BYTES'", "FP32", datatype="BYTES"),
    as_tensor("booleans", 400, "'features'", "'BOOL'", "FP32", datatype="BOOL"),
    as_tensor("fractions as integers", 400, "'features'", "5.1", "whole", datatype="INT64"),
    as_tensor(
        "a byte of 300",
        400,
        "'features'",
        "300",
        "from 0 to 255",
        datatype="UINT8",
        data=[1, 300, 1, 1],
    ),
    as_tensor(
        "an unsigned number below 0",
        400,
        "'features'",
        "-1",
        "from 0",
        datatype="UINT32",
        data=[-1, 1, 1, 1],
    ),
    as_tensor("half precision of 70 000", 400, "70000", "float16", datatype="FP16", data=[7e4] * 4),
]

WRONG_SHAPES = [
    as_tensor("the shape is missing", 400, "shape", shape=...),
    as_tensor("the shape is null", 400, "shape", shape=None),
    as_tensor("the shape is a number", 400, "shape", shape=4),
    as_tensor("the shape is a string", 400, "shape", shape="4"),
    as_tensor("the shape holds null", 400, "shape", "int", shape=[None, 4]),
    as_tensor("the shape holds a fraction", 400, "shape", "int", shape=[1.5, 4]),
    as_tensor("the shape is nested", 400, "shape", "int", shape=[[1, 4]]),
    as_tensor("no axis", 400, "'features'", "[]", "[n, 4]", shape=[]),
    as_tensor("one axis", 400, "'features'", "[4]", "[n, 4]", shape=[4]),
    as_tensor("three axes", 400, "'features'", "[1, 2, 2]", "[n, 4]", shape=[1, 2, 2]),
    as_tensor("100 000 axes", 400, "'features'", "...", "[n, 4]", shape=[1] * 100_000),
    as_tensor("too narrow", 400, "'features'", "[1, 3]", "[n, 4]", shape=[1, 3]),
    as_tensor("a negative width", 400, "'features'", "[1, -4]", "[n, 4]", shape=[1, -4]),
    as_tensor("an empty batch", 400, "[0, 4]", "at least one row", shape=[0, 4], data=[]),
    as_tensor("a negative batch", 400, "[-1, 4]", "at least one row", shape=[-1, 4]),
    as_tensor("a shape of more rows", 400, "[2, 4]", "4 values", "expected 8", shape=[2, 4]),
    as_tensor("a value too few", 400, "[1, 4]", "3 values", "expected 4", data=SETOSA[:3]),
    as_tensor("a value too many", 400, "[1, 4]", "5 values", "expected 4", data=[*SETOSA, 1]),
    as_tensor("no value", 400, "[1, 4]", "0 values", "expected 4", data=[]),
    as_tensor(
        "a row too many", 413, "10001", "10000", "parts", shape=[10_001, 4], data=SETOSA * 10_001
    ),
    as_tensor("a shape of far too many rows", 413, "2147483648", "10000", shape=[2**31, 4]),
    as_tensor("a shape beyond 64 bits", 413, "10000", shape=[10**30, 4]),
    as_tensor("a nested row too short", 400, "row 0", "2 values", "of 4", data=[[1, 2], [3, 4]]),
    as_tensor("a nested row missing", 400, "[2, 4]", "expected 8", shape=[2, 4], data=[SETOSA]),
    as_tensor("columns, not rows", 400, "row 0", "1 values", "of 4", data=[[x] for x in SETOSA]),
    as_tensor("an empty row", 400, "row 0", "0 values", "of 4", data=[[]]),
    as_tensor("nested too deep", 400, "row 0", "1 values", "of 4", data=[[SETOSA]]),
    as_tensor("a number among rows", 400, "row 1", "expected a list", data=[SETOSA, 1]),
]

WRONG_VALUES = [
    as_tensor("data is missing", 400, "data", data=...),
    as_tensor("data is null", 400, "'features'", "null", "list", data=None),
    as_tensor("data is a number", 400, "'features'", "5", "list", data=5),
    as_tensor("data is a string", 400, "'features'", "string", "list", data="5.1"),
    as_tensor("data is an object", 400, "'features'", "object", "list", data={"a": 1}),
    as_tensor("a string", 400, "'sepal_width'", "string", "number", data=[5.1, "3.5", 1.4, 0.2]),
    as_tensor("NaN as a string", 400, "'sepal_length'", "string", data=["NaN", 1, 1, 1]),
    as_tensor("a long string", 400, "'petal_width'", "string", "number", data=[1, 1, 1, LONG]),
    as_tensor("null", 400, "'sepal_width'", "null", "number", data=[5.1, None, 1.4, 0.2]),
    as_tensor("a boolean", 400, "'sepal_width'", "boolean", "number", data=[5.1, True, 1.4, 0.2]),
    as_tensor("a list", 400, "'sepal_width'", "list", "number", data=[5.1, [3.5], 1.4, 0.2]),
    as_tensor("an object", 400, "'sepal_width'", "object", "number", data=[5.1, {}, 1.4, 0.2]),
    as_tensor("beyond a float", 400, "'sepal_length'", "1e+39", "float32", data=[1e39, 1, 1, 1]),
    as_tensor("an integer beyond a float", 400, "'petal_width'", "float32", data=[1, 1, 1, 10**40]),
    as_tensor("beyond a float, as a double", 400, "1e+300", datatype="FP64", data=[1e300] * 4),
    as_tensor("beyond the model's arithmetic", 400, "row 0", "too large",
              data=[3e38, 3e38, -3e38, 3e38]),
    as_tensor(
        "null in the last row of 10 000",
        400,
        "row 9999",
        "'petal_width'",
        "null",
        shape=[10_000, 4],
        data=[*(SETOSA * 10_000)[:-1], None],
    ),
]  # fmt: skip

BINARY = [
    as_binary("the length is empty", 400, "Content-Length", "''", length=""),
    as_binary("the length is 0", 400, "JSON", length="0"),
    as_binary("the length is negative", 400, "Content-Length", "'-1'", length="-1"),
    as_binary("the length is a word", 400, "Content-Length", "'ten'", length="ten"),
    as_binary("the length is a fraction", 400, "Content-Length", "'1.0'", length="1.0"),
    as_binary("the length has a plus", 400, "Content-Length", "'+5'", length="+5"),
    as_binary("the length is a list", 400, "Content-Length", "'5, 5'", length="5, 5"),
    as_binary("the length is no ASCII", 400, "Content-Length", "xb2", length="\xb2"),
    as_binary("the length is beyond the body", 400, "Content-Length", "'999'", length="999"),
    as_binary("the length is beyond 64 bits", 400, "Content-Length", "999...", length="9" * 500),
    as_binary("the length is short", 400, "5 bytes", "JSON", length="5"),
    as_binary("the head is cut", 400, "JSON", head=b"{"),
    as_binary("the head is a list", 400, "object", "array", head=b"[]"),
    as_binary("the head is empty", 400, "0 bytes", "JSON", head=b""),
    as_binary("the head is no UTF-8", 400, "JSON", head=b'{"inputs": [], "id": "\xff"}'),
    as_binary("the head is deep", 400, head=deep(*IN_DATA), values=b""),
    as_binary("parameters are deep", 400, head=deep(*IN_PARAMETERS), values=b""),
    as_binary("no inputs", 400, "inputs", head=b"{}", values=b""),
    as_binary("the id is a number", 400, "id", "str", "int", head=b'{"id": 5, "inputs": []}'),
    as_binary("a byte too few", 400, "'features'", "16", "15 bytes", values=VALUES[:-1],
              parameters={SIZE: 16}),
    as_binary("a byte too many", 400, "1 bytes", "binary_data_size", values=VALUES + b"x",
              parameters={SIZE: 16}),
    as_binary("no values", 400, "'features'", "16", "0 bytes", values=b"",
              parameters={SIZE: 16}),
    as_binary("values without a size", 400, "16 bytes", "binary_data_size", parameters={}),
    as_binary("the size is no multiple", 400, "'features'", "15 bytes", "4", values=VALUES[:-1]),
    as_binary("the size is negative", 400, "'features'", "-16", parameters={SIZE: -16}),
    as_binary("the size is huge", 400, "'features'", "16 bytes", parameters={SIZE: 2**70}),
    as_binary("the size is a string", 400, "'features'", "'16'", parameters={SIZE: "16"}),
    as_binary("the size is a boolean", 400, "'features'", "True", parameters={SIZE: True}),
    as_binary("the size is a fraction", 400, "'features'", "16.0", parameters={SIZE: 16.0}),
    as_binary("data as well", 400, "'features'", "binary_data_size", "data", data=SETOSA),
    as_binary("doubles as floats", 400, "[1, 4]", "8 values", "expected 4",
              values=struct.pack("<4d", *SETOSA)),
    as_binary("floats as doubles", 400, "[1, 4]", "2 values", "expected 4", datatype="FP64"),
    as_binary("an unknown datatype", 400, "'features'", "'BF16'", "FP32", datatype="BF16"),
    as_binary("booleans", 400, "'features'", "'BOOL'", "FP32", datatype="BOOL", values=b"\1" * 4),
    as_binary("strings", 400, "'features'", "'BYTES'", "FP32", datatype="BYTES",
              values=struct.pack("<I3s", 3, b"5.1") * 4),
    as_binary("cut strings", 400, "'features'", "cut short", datatype="BYTES",
              values=struct.pack("<I3s", 4, b"5.1")),
    as_binary("NaN", 400, "'features'", "NaN", "'petal_length'", "finite",
              values=struct.pack("<4f", 1, 2, float("nan"), 4)),
    as_binary("infinity", 400, "'features'", "inf", "'petal_length'", "finite",
              values=struct.pack("<4f", 1, 2, float("inf"), 4)),
    as_binary("a double beyond a float", 400, "1e+300", "float32", datatype="FP64",
              values=struct.pack("<4d", 1e300, 1, 1, 1)),
    as_binary("one axis", 400, "'features'", "[4]", "[n, 4]", shape=[4]),
    as_binary("an empty batch", 400, "[0, 4]", "at least one row", shape=[0, 4], values=b""),
    as_binary("a row too many", 413, "10001", "10000", shape=[10_001, 4], values=VALUES * 10_001),
    as_binary("the shape is a string", 400, "shape", "array", "str", shape="4"),
    as_binary("a long name", 400, "xxx...", "'features'", name=LONG),
    as_binary("an unknown output", 400, "'nope'", "label", values=b"",
              head=json.dumps({**REQUEST, "outputs": [{"name": NOPE}]}).encode()),
    as_binary("an unknown model", 404, "rose", path=f"/v2/models/{ROSE}/infer"),
    as_body("binary: deep data, and the answer wanted in binary", 400,
            body=b'{"parameters":{"binary_data_output":true},' + deep(*IN_DATA)[1:]),
    as_body("binary: a size and no header", 400, "'features'", body={"inputs": [
        {**REQUEST["inputs"][0], "data": [], "parameters": {SIZE: 16}}]}),
]  # fmt: skip

HEADERS = [
    with_type("text", "text/plain"),
    with_type("bytes", "application/octet-stream"),
    with_type("a form", "application/x-www-form-urlencoded"),
    with_type("parts", "multipart/form-data; boundary=x"),
    with_type("a form's body", "application/x-www-form-urlencoded", b"inputs=1"),
    with_type("text after JSON", "application/json\r\ncontent-type: text/plain"),
    with_type("nothing known", LONG),
    with_type("no ASCII", "\xff"),
    with_type("JSON of no application", "text/json"),
    with_type("JSON and text", "application/json, text/plain"),
    with_header("gzip that is none", 400, "gzip", header="content-encoding: gzip"),
    with_header("gzip that is empty", 400, "gzip", header="content-encoding: gzip", body=b""),
    with_header(
        "gzip that is cut",
        400,
        "gzip",
        "cut short",
        header="content-encoding: gzip",
        body=gzip.compress(BODY)[:-3],
    ),
    with_header(
        "gzip that goes on",
        400,
        "gzip",
        header="content-encoding: gzip",
        body=gzip.compress(BODY) + b"x",
    ),
    with_header(
        "gzip of no JSON",
        400,
        "JSON",
        header="content-encoding: gzip",
        body=gzip.compress(b"{"),
    ),
    with_header(
        "gzip of 100 MB",
        413,
        "unpacks to more than",
        "ABSERVE_MAX_BODY_BYTES",
        header="content-encoding: gzip",
        body=gzip.compress(bytes(100_000_000), 1),
    ),
    with_header(
        "gzip twice",
        415,
        "'gzip, gzip'",
        "expected gzip",
        header="content-encoding: gzip, gzip",
        body=gzip.compress(gzip.compress(BODY)),
    ),
    with_header(
        "deflate",
        415,
        "'deflate'",
        "expected gzip",
        header="content-encoding: deflate",
        body=zlib.compress(BODY),
    ),
    with_header("brotli", 415, "'br'", "expected gzip", header="content-encoding: br"),
    with_header("no known coding", 415, "expected gzip", header=f"content-encoding: {LONG}"),
    with_header("a coding without a name", 415, "''", "gzip", header="content-encoding:"),
    as_body("a body over the limit", 413, "17000000", "16777216", body=b" " * LARGE),
    Refused(
        "a chunked body over the limit",
        413,
        ("16777216",),
        chunked(b"%x\r\n" % LARGE, b" " * LARGE, b"\r\n0\r\n\r\n"),
    ),
]

PATHS = [
    at("an unknown model", 404, "rose", path=f"/v2/models/{ROSE}/infer"),
    at("an unknown model of no JSON", 404, "rose", path=f"/v2/models/{ROSE}/infer", body=b"{"),
    at("an unknown version", 404, "iris", "v9", path="/v2/models/iris/versions/v9/infer"),
    at("an unknown model's version", 404, "rose", path=f"/v2/models/{ROSE}/versions/v1/infer"),
    at("a version of another writing", 404, "iris", "V1", path="/v2/models/iris/versions/V1/infer"),
    at("a model of another writing", 404, "Iris", path="/v2/models/Iris/infer"),
    at("a long model name", 404, "xxx", path=f"/v2/models/{LONG}/infer"),
    at("a longer model name", 404, "xxx", path=f"/v2/models/{'x' * 50_000}/infer"),
    at("a long version", 404, "xxx", path=f"/v2/models/iris/versions/{LONG}/infer"),
    at("a model name with a line break", 404, "a\\r\\nb", path="/v2/models/a%0D%0Ab/infer"),
    at("a name that is NUL", 404, "x00", path="/v2/models/%00/infer"),
    at("a name that is no UTF-8", 404, "ufffd", path="/v2/models/%FF/infer"),
    at("a name of dots", 404, "..", path="/v2/models/../infer"),
    at("a name of a file", 404, "path", path="/v2/models/..%2F..%2Fetc%2Fpasswd/infer"),
    at("no name", 404, path="/v2/models//infer"),
    at("two slashes", 404, "path", path=f"/{INFER}"),
    at("a trailing slash", 404, "path", path=f"{INFER}/"),
    at("an unknown path", 404, "path", path=f"/{NOPE}"),
    at("the root", 404, "path", path="/", method="GET"),
    at("protocol 1", 404, "path", path="/v1/models/iris:predict"),
    at("feedback of an unknown model", 404, "/v2/models/", path=f"/v2/models/{ROSE}/feedback"),
    at("metadata of an unknown model", 404, "rose", path=f"/v2/models/{ROSE}", method="GET"),
    at("metadata of an unknown version", 404, "v9", path="/v2/models/iris/versions/v9",
       method="GET"),
    at("readiness of an unknown model", 404, "rose", path=f"/v2/models/{ROSE}/ready",
       method="GET"),
    at("readiness of an unknown version", 404, "v9", path="/v2/models/iris/versions/v9/ready",
       method="GET"),
    at("loading", 404, "path", path="/v2/repository/models/iris/load"),
    at("unloading", 404, "path", path="/v2/repository/models/iris/unload"),
    at("the description of the API", 404, "path", path="/openapi.json", method="GET"),
    at("an index of no JSON", 400, "JSON", path="/v2/repository/index", body=b"{"),
    at("an index of a list", 400, "object", path="/v2/repository/index", body=b"[]"),
    at("an index of a word", 400, "ready", "boolean", path="/v2/repository/index",
       body=b'{"ready": "maybe"}'),
    at("generate: no inputs", 400, "no inputs", "features", path="/v2/models/iris/generate",
       body=b'{"inputs": []}'),
    at("generate: unknown model", 404, "rose", path=f"/v2/models/{ROSE}/generate"),
    at("generate: a million faults", 400, "inputs", path="/v2/models/iris/generate",
       body=json.dumps({"inputs": [5] * 1_000_000}).encode()),
    at("a stream of a million faults", 400, "inputs", path="/v2/models/iris/infer_stream",
       body=json.dumps({"inputs": [5] * 1_000_000}).encode()),
    at("a stream of no JSON", 400, "JSON", path="/v2/models/iris/infer_stream", body=b"{"),
    at("a stream without inputs", 400, "no inputs", "features",
       path="/v2/models/iris/infer_stream", body=b'{"inputs": []}'),
    at("a stream of an unknown model", 404, "rose", path=f"/v2/models/{ROSE}/infer_stream"),
    at("a stream of an unknown version", 404, "v9",
       path="/v2/models/iris/versions/v9/generate_stream"),
    at("GET", 405, "GET", "expected POST", path=INFER, method="GET", body=b""),
    at("GET with a body", 405, "GET", "expected POST", path=INFER, method="GET"),
    at("HEAD", 405, path=INFER, method="HEAD", body=b""),
    at("PUT", 405, "PUT", "expected POST", path=INFER, method="PUT"),
    at("PATCH", 405, "PATCH", "expected POST", path=INFER, method="PATCH"),
    at("DELETE", 405, "DELETE", "expected POST", path=INFER, method="DELETE"),
    at("OPTIONS", 405, "OPTIONS", "expected POST", path=INFER, method="OPTIONS"),
    at("TRACE", 405, "TRACE", "expected POST", path=INFER, method="TRACE"),
    at("PURGE", 405, "PURGE", "expected POST", path=INFER, method="PURGE"),
    at("GET of feedback", 405, "GET", "expected POST", path=FEEDBACK, method="GET", body=b""),
    at("GET of the index", 405, "GET", "expected POST", path="/v2/repository/index", method="GET",
       body=b""),
    at("POST of health", 405, "POST", "expected GET", path="/v2/health/live"),
    at("DELETE of metadata", 405, "DELETE", "expected GET", path="/v2/models/iris",
       method="DELETE", body=b""),
]  # fmt: skip

CONTENT_LENGTH = f"content-length: {len(BODY)}"

WIRE = [
    raw("no HTTP", b"hello\r\n\r\n"),
    raw("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\r\n\r\n"),
    raw("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    raw("a response", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    raw("an unknown method", http(method="BREW")),
    raw("a method in small letters", http(method="post")),
    raw("an unknown version", http(version="1.2")),
    raw("no version number", http(version="X")),
    raw("a path without a slash", http(path="v2/models/iris/infer")),
    raw("a space in the path", http(path="/v2/models/a b/infer")),
    raw("a path of other characters", http(path="/v2/models/\xff/infer")),
    raw("a host instead of a path", http(path="http://a"), "URL", "path"),
    raw("two lengths", wire(CONTENT_LENGTH, CONTENT_LENGTH)),
    raw("two different lengths", wire(CONTENT_LENGTH, "content-length: 5")),
    raw("a list of lengths", wire("content-length: 5, 5")),
    raw("an empty length", wire("content-length:")),
    raw("a negative length", wire("content-length: -5")),
    raw("a length with a plus", wire(f"content-length: +{len(BODY)}")),
    raw("a length in hexadecimal", wire("content-length: 0x10")),
    raw("a length beyond 64 bits", wire("content-length: 18446744073709551616")),
    raw("a length and chunks", wire(CONTENT_LENGTH, "transfer-encoding: chunked")),
    raw("a chunk's size is a word", chunked(b"zz\r\n", BODY, b"\r\n0\r\n\r\n")),
    raw("a chunk's size is negative", chunked(b"-5\r\n", BODY, b"\r\n0\r\n\r\n")),
    raw("a chunk's size is huge", chunked(b"f" * 20 + b"\r\n", BODY, b"\r\n0\r\n\r\n")),
    raw("a chunk is longer", chunked(b"5\r\n", BODY, b"\r\n0\r\n\r\n")),
    raw("chunks behind bare line feeds", chunked(b"%x\n" % len(BODY), BODY, b"\n0\n\n")),
    raw("chunked twice", chunked(head="transfer-encoding: chunked\r\ntransfer-encoding: chunked")),
    raw("an unknown transfer coding", wire("transfer-encoding: gzip", CONTENT_LENGTH)),
    raw("bare line feeds", wire(CONTENT_LENGTH).replace(b"\r\n", b"\n")),
    raw("a header without a colon", wire("hello", CONTENT_LENGTH)),
    raw("a header without a name", wire(": hello", CONTENT_LENGTH)),
    raw("a header over two lines", wire("hello: a\r\n b", CONTENT_LENGTH)),
    raw("a space before a colon", wire("hello : a", CONTENT_LENGTH)),
    raw("NUL in a header", wire("hello: a\0b", CONTENT_LENGTH)),
    raw("a carriage return in a header", wire("hello: a\rb", CONTENT_LENGTH)),
    Refused("wire: a body without a length", 400, (), wire()),
    Refused("wire: no length and no body", 400, (), wire(body=b"")),
    Refused("wire: chunks of nothing", 400, (), chunked(b"0\r\n\r\n")),
    Refused("wire: deep parameters in chunks", 400, (), chunked(
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(deep(*IN_PARAMETERS)), deep(*IN_PARAMETERS)))),
    Refused("wire: CONNECT", 405, ("CONNECT",), b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n"),
    Refused("wire: a WebSocket", 405, ("GET", "POST"), (
        f"GET {INFER} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    ).encode(), "GET"),
]  # fmt: skip

ENDLESS_HEADS = {
    "a path": http(path=f"/v2/models/{LONGER}/infer"),
    "a header": wire(f"hello: {LONGER}", CONTENT_LENGTH),
    "10 000 headers": wire(*(f"x-{i}: a" for i in range(10_000)), CONTENT_LENGTH),
    "10 MB": wire(f"hello: {LONGER * 100}", CONTENT_LENGTH),
    "a header's name": wire(f"{LONGER}: a", CONTENT_LENGTH),
}

REFUSED = [
    *NOT_JSON,
    *NO_REQUEST,
    *WRONG_INPUTS,
    *WRONG_SHAPES,
    *WRONG_VALUES,
    *BINARY,
    *HEADERS,
    *PATHS,
    *WIRE,
]

# Odd, but right: each must be answered like the good request.
ANSWERED: dict[str, bytes] = {
    "a query": http(BODY, *JSON, path=f"{INFER}?a=b"),
    "a whole URL": http(BODY, *JSON, path=f"http://a{INFER}"),
    "a letter in percent": http(BODY, *JSON, path="/v2/models/%69ris/infer"),
    "a version": http(BODY, *JSON, path="/v2/models/iris/versions/v1/infer"),
    "headers in capitals": http(BODY, "CONTENT-TYPE: APPLICATION/JSON"),
    "a header without a space": http(BODY, "content-type:application/json"),
    "a header of other characters": http(BODY, *JSON, "hello: \xff"),
    "a header of 8000 characters": http(BODY, *JSON, f"hello: {'x' * 8_000}"),
    "no content-type": http(BODY),
    "a charset": http(BODY, "content-type: application/json; charset=utf-8"),
    "two content-types, the last of which counts": http(BODY, "content-type: text/plain", *JSON),
    "identity": http(BODY, *JSON, "content-encoding: identity"),
    "gzip in capitals": http(gzip.compress(BODY), *JSON, "content-encoding: GZIP"),
    "line breaks before": b"\r\n\r\n" + http(BODY, *JSON),
    "expect": http(BODY, *JSON, "expect: 100-continue"),
    "close": http(BODY, *JSON, "connection: close"),
    "an upgrade": http(
        BODY, *JSON, "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAA"
    ),
    "an upgrade of no connection": http(BODY, *JSON, "upgrade: h2c"),
    "HTTP/1.0": http(BODY, *JSON, version="1.0"),
    "one chunk": chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a chunk for each byte": chunked(*(b"1\r\n%c\r\n" % byte for byte in BODY), b"0\r\n\r\n"),
    "an extension of a chunk": chunked(b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a trailer": chunked(b"%x\r\n%s\r\n0\r\nhello: a\r\n\r\n" % (len(BODY), BODY)),
    "white space": http(b" \n\t" + BODY + b"\r\n ", *JSON),
    "an escaped key": http(BODY.replace(b'"inputs"', b'"\\u0069nputs"'), *JSON),
    "a key given twice": http(b'{"id": "r-0", ' + BODY[1:], *JSON),
    "an unknown field": http(b'{"nope": {}, ' + BODY[1:], *JSON),
    "null for what may be left out": http(b'{"outputs": null, "parameters": null,' + BODY[1:]),
    "an output asked for twice": http(b'{"outputs": [{"name": "label"}, {"name": "label"}],'
                                      + BODY[1:], *JSON),
    "unknown parameters": http(b'{"parameters": {"a": [1, null, {"b": 1e300}]},' + BODY[1:], *JSON),
    "headers among the parameters": http(
        b'{"parameters": {"headers": {"a\\r\\nb": "c"}},' + BODY[1:], *JSON),
    "an integer beyond 64 bits": http(BODY.replace(b"5.1", b"18446744073709551616"), *JSON),
    "a number of 5000 digits": http(BODY.replace(b"5.1", b"5." + b"1" * 5_000), *JSON),
    "a number too small": http(BODY.replace(b"5.1", b"1e-999"), *JSON),
}  # fmt: skip


GOOD_FEEDBACK: dict[str, Any] = {"ground_truth": "setosa"}


def told(name: str, status: int, /, *words: str, **fields: Any) -> RefusedFeedback:
    """Return feedback of these fields, with a good token unless they have another."""

    def body(token: str) -> bytes:
        return json.dumps({"feedback_token": token, **fields}).encode()

    return RefusedFeedback(name, status, words, body)


def with_token(name: str, *words: str, change: Callable[[str], Any]) -> RefusedFeedback:
    """Return feedback with another token, made from a good one."""

    def body(token: str) -> bytes:
        return json.dumps({"feedback_token": change(token), **GOOD_FEEDBACK}).encode()

    return RefusedFeedback(name, 400, words, body)


def said(name: str, *words: str, body: bytes) -> RefusedFeedback:
    """Return feedback that is no feedback; ``%s`` stands for the token."""
    return RefusedFeedback(name, 400, words, lambda token: body.replace(b"%s", token.encode()))


def swap(token: str, index: int) -> str:
    """Return a token with another character at `index`."""
    position = range(len(token))[index]
    other = "A" if token[position] != "A" else "B"
    return token[:position] + other + token[position + 1 :]


REFUSED_FEEDBACK = [
    said("no body", "object", "feedback_token", body=b""),
    said("null", "object", "feedback_token", body=b"null"),
    said("a list", "object", "feedback_token", body=b"[]"),
    said("a number", "object", "feedback_token", body=b"5"),
    said("half an object", "JSON", body=b"{"),
    said("no UTF-8", "JSON", body=b'{"feedback_token": "\xff"}'),
    said("half a surrogate pair", "JSON", body=b'{"feedback_token": "\\ud800"}'),
    said("a deep list", body=b"[" * DEEP),
    said("an empty object", "feedback_token", "missing", body=b"{}"),
    said("no token", "feedback_token", "missing", body=b'{"ground_truth": "setosa"}'),
    said("NaN as the reward", "JSON", body=b'{"feedback_token": "%s", "reward": NaN}'),
    said("infinity as the reward", "JSON", body=b'{"feedback_token": "%s", "reward": Infinity}'),
    said("a reward beyond a double", body=b'{"feedback_token": "%s", "reward": 1e999}'),
    with_token("the token is null", "feedback_token", "string", change=lambda _: None),
    with_token("the token is a number", "feedback_token", "string", change=lambda _: 5),
    with_token("the token is a list", "feedback_token", "string", change=lambda token: [token]),
    with_token("the token is empty", "token", "cut short", change=lambda _: ""),
    with_token("the token is forged", "token", "format", change=lambda _: "A" * 200),
    with_token("the token is forged well", "token", "altered", change=lambda _: "AgB" + "a" * 197),
    with_token("the token is another text", "token", "damaged", change=lambda _: "\u2603" * 100),
    with_token("the token is cut", "token", change=lambda token: token[:-1]),
    with_token("the token is cut by four", "token", change=lambda token: token[:-4]),
    with_token("the token is cut to half", "token", change=lambda token: token[: len(token) // 2]),
    with_token("the token is longer", "token", change=lambda token: token + "A"),
    with_token("the token is padded", "token", "damaged", change=lambda token: token + "=="),
    with_token("the token has a space", "token", "damaged", change=lambda token: token + " "),
    with_token("the token's body is altered", "altered", change=lambda token: swap(token, 20)),
    with_token("the signature is altered", "altered", change=lambda token: swap(token, -9)),
    with_token("the format is altered", "format", change=lambda token: swap(token, 0)),
    with_token("the token is huge", "2000000", "1048576", change=lambda _: "A" * 2_000_000),
    told("another id", 400, "'id'", "token", id="f-2", **GOOD_FEEDBACK),
    told("the id is a number", 400, "'id'", "string", id=5, **GOOD_FEEDBACK),
    told("an unknown field", 400, "fields", "ground_truth", truth="setosa"),
    told("neither of the two", 400, "ground_truth", "reward", "missing"),
    told("an unknown class", 400, "row 0", "'setosa'", ground_truth=ROSE),
    told("a class of another writing", 400, "row 0", "'setosa'", ground_truth="Setosa"),
    told("a long class", 400, "row 0", "'setosa'", ground_truth=LONG),
    told("a class of no name", 400, "row 0", "'setosa'", ground_truth=""),
    told("a number as the class", 400, "row 0", "'setosa'", ground_truth=0),
    told("a boolean as the class", 400, "row 0", "'setosa'", ground_truth=True),
    told("an object as the class", 400, "row 0", "'setosa'", ground_truth={"a": 1}),
    told("an object among the classes", 400, "row 0", "'setosa'", ground_truth=[{"a": 1}]),
    told("a list among the classes", 400, "row 0", "'setosa'", ground_truth=[["setosa"]]),
    told("no class", 400, "0 classes", "1 rows", "list", ground_truth=[]),
    told("a class too many", 400, "2 classes", "1 rows", ground_truth=["setosa", "setosa"]),
    told("100 000 classes", 400, "100000 classes", "1 rows", ground_truth=["setosa"] * 100_000),
    told("a good truth and a bad reward", 400, "reward", "from 0 to 1", reward=2, **GOOD_FEEDBACK),
    told("a good reward and a bad truth", 400, "row 0", ground_truth=ROSE, reward=1),
    told("a reward below 0", 400, "reward", "from 0 to 1", reward=-0.1),
    told("a reward above 1", 400, "reward", "from 0 to 1", reward=1.1),
    told("a huge reward", 400, "reward", "from 0 to 1", reward=10**30),
    told("the reward is null", 400, "reward", "from 0 to 1", reward=None),
    told("the reward is a boolean", 400, "reward", "from 0 to 1", reward=True),
    told("the reward is a string", 400, "reward", "from 0 to 1", reward="0.5"),
    told("the reward is a list", 400, "reward", "from 0 to 1", reward=[0.5]),
]

# gRPC.

INFERENCE = "inference.GRPCInferenceService"
REPOSITORY = "inference.model_repository.ModelRepositoryService"
BAD = StatusCode.INVALID_ARGUMENT
UNKNOWN = StatusCode.NOT_FOUND
TOO_MUCH = StatusCode.RESOURCE_EXHAUSTED
CLOSED = StatusCode.UNIMPLEMENTED


def message(
    *tensors: pb.ModelInferRequest.InferInputTensor,
    raw: tuple[bytes, ...] = (),
    outputs: tuple[str, ...] = (),
    **fields: Any,
) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(
        **{"model_name": "iris", "id": "g-1", **fields},
        inputs=tensors,
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=raw,
    )


def tensor(
    name: str = "features",
    datatype: str = "FP32",
    shape: tuple[int, ...] = (1, 4),
    content_type: Any = None,
    **contents: Any,
) -> pb.ModelInferRequest.InferInputTensor:
    made = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    if content_type is not None:
        made.parameters["content_type"].CopyFrom(content_type)
    return made


FP32 = {"fp32_contents": SETOSA}
GOOD_MESSAGE = message(tensor(**FP32))


def called(name: str, status: StatusCode, *words: str, sent: pb.ModelInferRequest) -> RefusedCall:
    return RefusedCall(name, status, words, sent.SerializeToString())


def sent(name: str, /, *words: str, status: StatusCode = BAD, **changes: Any) -> RefusedCall:
    """Return a call with an input of other fields."""
    return called(name, status, *words, sent=message(tensor(**changes)))


def sent_raw(
    name: str, /, *words: str, raw: bytes = VALUES, status: StatusCode = BAD, **changes: Any
) -> RefusedCall:
    """Return a call with raw contents."""
    return called(f"raw: {name}", status, *words, sent=message(tensor(**changes), raw=(raw,)))


def asked(name: str, status: StatusCode, *words: str, method: str, sent: Any = b"") -> RefusedCall:
    content = sent if isinstance(sent, bytes) else sent.SerializeToString()
    return RefusedCall(name, status, words, content, method)


ZZZ, FIVE = pb.InferParameter(string_param="zzz"), pb.InferParameter(int64_param=5)

REFUSED_CALLS = [
    called("an unknown model", UNKNOWN, "rose", sent=message(tensor(**FP32), model_name=ROSE)),
    called("no model", UNKNOWN, sent=message(tensor(**FP32), model_name="")),
    called("a long model name", UNKNOWN, "xxx", sent=message(tensor(**FP32), model_name=LONG)),
    called("a model with a line break", UNKNOWN, sent=message(tensor(**FP32), model_name="a\r\nb")),
    called("an unknown version", UNKNOWN, "iris", "v9",
           sent=message(tensor(**FP32), model_version="v9")),
    called("an unknown model without inputs", UNKNOWN, "rose", sent=message(model_name=ROSE)),
    called("no inputs", BAD, "no inputs", "features", sent=message()),
    called("an unknown output", BAD, "'nope'", "label",
           sent=message(tensor(**FP32), outputs=(NOPE,))),
    called("an output of no name", BAD, "''", "label", sent=message(tensor(**FP32), outputs=("",))),
    called("the id has a line break", BAD, "id", "ASCII",
           sent=message(tensor(**FP32), id="a\r\nb: c")),
    called("the id is no ASCII", BAD, "id", "u2603", "ASCII",
           sent=message(tensor(**FP32), id="\u2603")),
    called("the id is too long", BAD, "id", "xxx...", "128", sent=message(tensor(**FP32), id=LONG)),
    called("an unknown content_type", BAD, "'zzz'", "np",
           sent=message(tensor(**FP32), parameters={"content_type": ZZZ})),
    called("twice the same", BAD, "'features'", "once",
           sent=message(tensor(**FP32), tensor(**FP32))),
    called("a column is missing", BAD, "'petal_width'", "sepal_length", sent=message(
        *(tensor(each, shape=(1, 1), fp32_contents=[1]) for each in COLUMNS[:3]))),
    called("a column of one row more", BAD, "'sepal_length' has 1 rows", "'sepal_width' has 2",
           sent=message(tensor("sepal_length", shape=(1, 1), fp32_contents=[1]), *(
               tensor(each, shape=(2, 1), fp32_contents=[1, 2]) for each in COLUMNS[1:]))),
    called("10 000 columns, two of one name", BAD, "'c9998'", "once", sent=message(
        *(tensor(f"c{i}", shape=(1,), fp32_contents=[1]) for i in [*range(9_999), 9_998]))),
    called("100 000 empty inputs", TOO_MUCH, "100000 inputs", "10000",
           sent=message(*[pb.ModelInferRequest.InferInputTensor()] * 100_000)),
    sent("an input of no name", "expected", name="", **FP32),
    sent("an unknown name", "'nope'", "'features'", name=NOPE, **FP32),
    sent("a long name", "xxx...", "'features'", name=LONG, **FP32),
    sent("an input's unknown content_type", "'features'", "'zzz'", content_type=ZZZ, **FP32),
    sent("an input's content_type is a number", "'features'", "5", content_type=FIVE, **FP32),
    sent("no datatype", "'features'", "''", "FP32", datatype="", **FP32),
    sent("a datatype in small letters", "'features'", "'fp32'", "FP32", datatype="fp32", **FP32),
    sent("a long datatype", "'features'", "xxx...", "FP32", datatype=LONG, **FP32),
    sent("strings", "'features'", "BYTES", "FP32", datatype="BYTES", bytes_contents=[b"5"] * 4),
    sent("booleans", "'features'", "BOOL", "FP32", datatype="BOOL", bool_contents=[True] * 4),
    sent("floats as doubles", "'features'", "fp32_contents", "fp64_contents", datatype="FP64",
         **FP32),
    sent("integers as floats", "'features'", "int_contents", "fp32_contents", int_contents=[1] * 4),
    sent("floats and doubles", "'features'", "fp64_contents", "fp32_contents",
         fp64_contents=SETOSA, **FP32),
    sent("half precision", "'features'", "FP16", datatype="FP16", **FP32),
    sent("a byte of 300", "'features'", "300", "from 0 to 255", datatype="UINT8",
         uint_contents=[1, 300, 1, 1]),
    sent("a signed byte of -129", "'features'", "-129", "from -128", datatype="INT8",
         int_contents=[1, -129, 1, 1]),
    sent("no contents", "[1, 4]", "0 values", "expected 4"),
    sent("a value too few", "[1, 4]", "3 values", "expected 4", fp32_contents=SETOSA[:3]),
    sent("a value too many", "[1, 4]", "5 values", "expected 4", fp32_contents=[*SETOSA, 1]),
    sent("a shape of more rows", "[2, 4]", "4 values", "expected 8", shape=(2, 4), **FP32),
    sent("no axis", "'features'", "[]", "[n, 4]", shape=(), **FP32),
    sent("one axis", "'features'", "[4]", "[n, 4]", shape=(4,), **FP32),
    sent("three axes", "'features'", "[1, 2, 2]", "[n, 4]", shape=(1, 2, 2), **FP32),
    sent("too narrow", "'features'", "[1, 3]", "[n, 4]", shape=(1, 3), **FP32),
    sent("an empty batch", "[0, 4]", "at least one row", shape=(0, 4)),
    sent("a negative batch", "[-1, 4]", "at least one row", shape=(-1, 4), **FP32),
    sent("a row too many", "10001", "10000", status=TOO_MUCH, shape=(10_001, 4),
         fp32_contents=SETOSA * 10_001),
    sent("a shape of far too many rows", "10000", status=TOO_MUCH, shape=(2**62, 4), **FP32),
    sent("NaN", "'features'", "NaN", "'petal_length'", "finite",
         fp32_contents=[1, 2, float("nan"), 4]),
    sent("infinity", "'features'", "inf", "'sepal_length'", "finite",
         fp32_contents=[float("inf"), 1, 1, 1]),
    sent("a double beyond a float", "1e+300", "float32", datatype="FP64",
         fp64_contents=[1e300, 1, 1, 1]),
    sent("beyond the model's arithmetic", "row 0", "too large",
         fp32_contents=[3e38, 3e38, -3e38, 3e38]),
    sent_raw("a byte too few", "'features'", "15 bytes", "4", raw=VALUES[:-1]),
    sent_raw("a row too many", "[1, 4]", "8 values", "expected 4", raw=VALUES * 2),
    sent_raw("empty", "[1, 4]", "0 values", "expected 4", raw=b""),
    sent_raw("contents as well", "'features'", "raw_input_contents", **FP32),
    sent_raw("floats as doubles", "[1, 4]", "2 values", "expected 4", datatype="FP64"),
    sent_raw("an unknown datatype", "'features'", "'BF16'", "FP32", datatype="BF16"),
    sent_raw("strings", "'features'", "'BYTES'", "FP32", datatype="BYTES",
             raw=struct.pack("<I3s", 3, b"5.1") * 4),
    sent_raw("cut strings", "'features'", "cut short", datatype="BYTES",
             raw=struct.pack("<I3s", 4, b"5.1")),
    sent_raw("NaN", "'features'", "NaN", "'sepal_width'",
             raw=struct.pack("<4f", 1, float("nan"), 1, 1)),
    sent_raw("a batch too large", "10001", "10000", status=TOO_MUCH, shape=(10_001, 4),
             raw=VALUES * 10_001),
    called("raw: two for one input", BAD, "1 inputs", "2 raw_input_contents",
           sent=message(tensor(), raw=(VALUES, VALUES))),
    called("raw: one for no input", BAD, sent=message(raw=(VALUES,))),
    called("a message over the limit", TOO_MUCH, sent=message(tensor(), raw=(bytes(LARGE),))),
    RefusedCall("no message", BAD, (), b"\xff\xff\xff"),
    RefusedCall("a cut message", BAD, (), GOOD_MESSAGE.SerializeToString()[:-1]),
    RefusedCall("a name that is no UTF-8", BAD, (), b"\n\x02\xff\xfe"),
    RefusedCall("an empty message", UNKNOWN, (), b""),
    asked("metadata of an unknown model", UNKNOWN, "rose", method=f"{INFERENCE}/ModelMetadata",
          sent=pb.ModelMetadataRequest(name=ROSE)),
    asked("metadata of an unknown version", UNKNOWN, "v9", method=f"{INFERENCE}/ModelMetadata",
          sent=pb.ModelMetadataRequest(name="iris", version="v9")),
    asked("readiness of an unknown model", UNKNOWN, "rose", method=f"{INFERENCE}/ModelReady",
          sent=pb.ModelReadyRequest(name=ROSE)),
    asked("readiness of an unknown version", UNKNOWN, "v9", method=f"{INFERENCE}/ModelReady",
          sent=pb.ModelReadyRequest(name="iris", version="v9")),
    asked("loading", CLOSED, method=f"{INFERENCE}/RepositoryModelLoad",
          sent=pb.RepositoryModelLoadRequest(model_name="iris")),
    asked("unloading", CLOSED, method=f"{INFERENCE}/RepositoryModelUnload",
          sent=pb.RepositoryModelUnloadRequest(model_name="iris")),
    # The same messages, by the service that MLServer keeps for old clients.
    asked("loading as of old", CLOSED, method=f"{REPOSITORY}/RepositoryModelLoad",
          sent=pb.RepositoryModelLoadRequest(model_name="iris")),
    asked("unloading as of old", CLOSED, method=f"{REPOSITORY}/RepositoryModelUnload",
          sent=pb.RepositoryModelUnloadRequest(model_name="iris")),
    asked("an unknown method", CLOSED, method=f"{INFERENCE}/{NOPE}"),
    asked("an unknown service", CLOSED, method=f"{NOPE}/{NOPE}"),
]  # fmt: skip

# Streams: what is sent in each, and how it ends.
REFUSED_STREAMS = [
    called("a stream of an unknown model", UNKNOWN, "rose",
           sent=message(tensor(**FP32), model_name=ROSE)),
    called("a stream of an unknown version", UNKNOWN, "v9",
           sent=message(tensor(**FP32), model_version="v9")),
    called("a stream without inputs", BAD, "no inputs", "features", sent=message()),
    sent("a stream of a wrong shape", "'features'", "[4]", "[n, 4]", shape=(4,), **FP32),
    sent_raw("a stream of a byte too few", "'features'", "15 bytes", raw=VALUES[:-1]),
]  # fmt: skip
