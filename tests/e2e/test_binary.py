"""Binary tensors over REST, sent by tritonclient with its defaults, which nobody here wrote."""

from collections.abc import Iterator

import numpy as np
import pytest
import requests
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from tests.runtimes.server_process import OURS, REQUEST, ServerProcess, running
from tests.runtimes.versions import COLUMNS, SETOSA, VIRGINICA, write_version

pytestmark = pytest.mark.e2e

BOTH = np.array([SETOSA, VIRGINICA], np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = write_version(tmp_path_factory.mktemp("iris") / "v1")
    with running(OURS, folder, tmp_path_factory.mktemp("logs") / "ours") as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def client(server: ServerProcess) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.url.removeprefix("http://")) as opened:
        yield opened


def features(rows: np.ndarray = BOTH, datatype: str = "FP32") -> InferInput:
    tensor = InferInput("features", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows)
    return tensor


def test_a_client_with_its_defaults_gets_every_output(client: InferenceServerClient) -> None:
    result = client.infer("iris", [features()], request_id="t-1")
    answer = result.get_response()
    assert (answer["model_version"], answer["id"]) == ("v1", "t-1")
    assert answer["parameters"]["feedback_token"]
    assert result.as_numpy("label").ravel().tolist() == [b"setosa", b"virginica"]
    assert result.as_numpy("class_index").ravel().tolist() == [0, 2]
    assert result.as_numpy("probability").sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert result.get_output("probability")["parameters"]["classes"] == [
        "setosa",
        "versicolor",
        "virginica",
    ]


def test_the_server_says_that_it_takes_them(client: InferenceServerClient) -> None:
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]


def test_the_numbers_are_those_of_json(
    client: InferenceServerClient, server: ServerProcess
) -> None:
    tensor = {**REQUEST["inputs"][0], "shape": [2, 4], "data": BOTH.ravel().tolist()}
    as_json = server.infer(inputs=[tensor]).json()["outputs"][2]["data"]
    in_binary = client.infer("iris", [features()]).as_numpy("probability")
    assert np.array(as_json, np.float32).tolist() == in_binary.ravel().tolist()


def test_outputs_are_in_the_form_that_each_asks_for(client: InferenceServerClient) -> None:
    wanted = [
        InferRequestedOutput("probability", binary_data=True),
        InferRequestedOutput("label", binary_data=False),
    ]
    result = client.infer("iris", [features()], outputs=wanted)
    first, second = result.get_response()["outputs"]
    assert (first["name"], "data" in first) == ("probability", False)
    assert second["data"] == ["setosa", "virginica"]
    assert result.as_numpy("probability").shape == (2, 3)


def test_inputs_may_be_in_binary_and_json_at_once(client: InferenceServerClient) -> None:
    tensors = []
    for index, name in enumerate(COLUMNS):
        tensor = InferInput(name, [2, 1], "FP32")
        tensor.set_data_from_numpy(BOTH[:, index : index + 1], binary_data=index % 2 == 0)
        tensors.append(tensor)
    result = client.infer("iris", tensors)
    assert result.as_numpy("class_index").ravel().tolist() == [0, 2]


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("FP16", "f2"), ("FP32", "f4"), ("FP64", "f8"), ("INT8", "i1"), ("UINT64", "u8")],
)
def test_every_numeric_datatype_is_read(
    client: InferenceServerClient, datatype: str, dtype: str
) -> None:
    rows = np.array([[5, 3, 1, 0], [6, 3, 6, 2]], dtype)
    result = client.infer("iris", [features(rows, datatype)])
    assert result.as_numpy("class_index").ravel().tolist() == [0, 2]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client: InferenceServerClient, algorithm: str) -> None:
    if algorithm == "deflate":
        with pytest.raises(Exception, match="expected gzip"):
            client.infer("iris", [features()], request_compression_algorithm=algorithm)
        return
    result = client.infer(
        "iris",
        [features(np.repeat(BOTH, 100, axis=0))],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert result.as_numpy("class_index").ravel().tolist() == [0] * 100 + [2] * 100


def test_a_body_in_chunks_is_read(client: InferenceServerClient, server: ServerProcess) -> None:
    body, length = client.generate_request_body([features()])
    parts = (body[at : at + 7] for at in range(0, len(body), 7))
    response = requests.post(
        f"{server.url}/v2/models/iris/infer",
        data=parts,
        headers={"Inference-Header-Content-Length": str(length)},
        timeout=10,
    )
    assert response.status_code == 200
    assert response.headers["inference-header-content-length"]


def test_no_value_may_be_nan(client: InferenceServerClient) -> None:
    with pytest.raises(Exception, match=r"no number .* in row 1 .*, column 'petal_width'"):
        client.infer("iris", [features(np.array([SETOSA, [*SETOSA[:3], np.nan]], np.float32))])


def test_a_refusal_is_counted_once_with_its_status(
    client: InferenceServerClient, server: ServerProcess
) -> None:
    def counted() -> list[str]:
        text = requests.get(server.metrics_url, timeout=10).text
        return [
            line
            for line in text.splitlines()
            if line.startswith(
                (
                    'abserve_requests_total{model="iris",version="v1",outcome="rejected"',
                    'abserve_requests_total{model="iris",outcome="rejected"',
                    'model_infer_request_failure_total{model="iris"',
                )
            )
            or ("rest_server_requests_total" in line and 'status_code="413"' in line)
        ]

    before = counted()
    with pytest.raises(Exception, match="at most 10000"):
        client.infer("iris", [features(np.zeros((10_001, 4), np.float32))])
    after = counted()
    assert len(after) == 3
    assert [line.rpartition(" ")[2] for line in after if 'status_code="413"' in line] == ["1.0"]
    assert len(set(after) - set(before)) == 3
