import json
import sys
from pathlib import Path
from typing import Any

import pytest

from abserve.cluster.model_server import ModelServer
from abserve.errors import ClusterError
from abserve.seldon import PrepackagedServer, prepackaged_server, with_defaults
from tests.abserve.seldon.documents import parsed, prepackaged

URI = "s3://models/somebody/iris"
OURS = ModelServer(None)


@pytest.fixture
def sklearn() -> ModelServer:
    return ModelServer.of(with_defaults(parsed(prepackaged())).spec.predictors[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.joblib").write_bytes(b"model")
    return tmp_path


def write(folder: Path, file: str, **content: Any) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(json.dumps(content))


def test_a_version_of_ours_is_served_by_our_server() -> None:
    assert OURS.command(Path("/m")) == [sys.executable, "-m", "runtimes.server", Path("/m")]


def test_a_prepackaged_model_is_served_by_mlserver_as_it_comes(sklearn: ModelServer) -> None:
    program, *arguments = sklearn.command(Path("/m"))
    assert Path(program) == Path(sys.executable).with_name("mlserver")
    assert arguments == ["start", Path("/m")]


def test_a_runtime_that_is_not_installed_is_told_with_how_to_install_it() -> None:
    node = parsed(prepackaged()).spec.predictors[0].graph
    known = prepackaged_server(node)
    assert known is not None
    missing = PrepackagedServer(known.name, known.image, "no_such.Model", known.files, known.extra)
    with pytest.raises(ClusterError, match=r"needs no_such.*pip install 'abserve\[sklearn\]'"):
        ModelServer(missing).command(Path("/m"))


@pytest.mark.parametrize("file", ["model.joblib", "model.pickle", "model.pkl"])
def test_a_prepackaged_model_needs_no_more_than_its_file(
    sklearn: ModelServer, tmp_path: Path, file: str
) -> None:
    (tmp_path / file).write_bytes(b"model")
    sklearn.prepare(tmp_path, URI, "iris")


def test_a_folder_without_a_model_is_told_with_what_it_holds(
    sklearn: ModelServer, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")
    with pytest.raises(ClusterError, match=r"holds model.onnx, expected model.joblib or"):
        sklearn.prepare(tmp_path, URI, "iris")


def test_a_model_that_the_user_or_its_settings_name_may_have_any_name(
    sklearn: ModelServer, tmp_path: Path
) -> None:
    env = [{"name": "MLSERVER_MODEL_URI", "value": "/mnt/models/mine.bin"}]
    pods = [{"spec": {"containers": [{"name": "iris", "env": env}]}}]
    named = with_defaults(parsed(prepackaged(componentSpecs=pods))).spec.predictors[0]
    ModelServer.of(named).prepare(tmp_path, URI, "iris")
    write(tmp_path, "model-settings.json", parameters={"uri": "./mine.bin"})
    sklearn.prepare(tmp_path, URI, "iris")


@pytest.mark.parametrize("name", ["model-settings.json", "inner/model-settings.json"])
def test_a_runtime_of_ours_is_not_in_the_prepackaged_image(
    sklearn: ModelServer, folder: Path, name: str
) -> None:
    write(folder, name, implementation="runtimes.tabular.TabularClassifier")
    with pytest.raises(ClusterError, match=r"for runtimes\.tabular.*remove implementation"):
        sklearn.prepare(folder, URI, "iris")


def test_a_runtime_that_the_folder_brings_is_served(sklearn: ModelServer, folder: Path) -> None:
    write(folder, "model-settings.json", implementation="mine.Model")
    sklearn.prepare(folder, URI, "iris")


@pytest.mark.parametrize("server", [OURS, None], ids=["ours", "prepackaged"])
def test_a_model_of_another_name_is_refused(
    server: ModelServer | None, sklearn: ModelServer, folder: Path
) -> None:
    write(folder, "model-settings.json", name="wine")
    with pytest.raises(ClusterError, match=r"model 'wine', but the graph node is named 'iris'"):
        (server or sklearn).prepare(folder, URI, "iris")


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_settings_that_cannot_be_read_are_told(
    sklearn: ModelServer, folder: Path, text: str
) -> None:
    (folder / "model-settings.json").write_text(text)
    with pytest.raises(ClusterError, match=r"model-settings\.json of modelUri s3://.* is no JSON"):
        sklearn.prepare(folder, URI, "iris")


def test_the_servers_settings_open_nothing_to_the_network(
    sklearn: ModelServer, folder: Path
) -> None:
    write(folder, "settings.json", host="0.0.0.0", debug=False)
    sklearn.prepare(folder, URI, "iris")
    assert json.loads((folder / "settings.json").read_text()) == {
        "host": "127.0.0.1",
        "debug": False,
    }


@pytest.mark.parametrize("port", ["http_port", "grpc_port", "metrics_port"])
def test_the_servers_settings_may_not_choose_its_ports(
    sklearn: ModelServer, folder: Path, port: str
) -> None:
    write(folder, "settings.json", **{port: 8080})
    with pytest.raises(ClusterError, match=f"sets {port}, which wins over the port"):
        sklearn.prepare(folder, URI, "iris")
