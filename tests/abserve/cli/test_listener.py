from pathlib import Path

import pytest

from tests.abserve.cli.conftest import Run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    there = tmp_path / "file"
    there.write_text("nonsense")
    return there


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--jwt-issuer", "https://issuer.example"], "--jwt-audience and --jwks go together"),
        (["--jwks", "FILE"], "go together; give all"),
        (["--tls-cert", "FILE"], "--tls-cert and --tls-key go together"),
        (["--tls", "--tls-cert", "FILE", "--tls-key", "FILE"], "leave it out"),
        (["--rate-limit", "0"], "--rate-limit"),
        (["--rate-limit", "many"], "--rate-limit"),
        (["--jwks", "/nowhere"], "--jwks"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(
    options: list[str], words: str, file: Path, abserve: Run
) -> None:
    for detached in ([], ["--detach"]):
        ended = abserve(
            "up", *detached, *(str(file) if each == "FILE" else each for each in options)
        )
        assert (ended.code, ended.out) == (2, "")
        assert words in " ".join(ended.err.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tls-cert", "FILE", "--tls-key", "FILE"], "holds no certificate"),
        (["--jwt-issuer", "a", "--jwt-audience", "b", "--jwks", "FILE"], "holds no JSON"),
    ],
)
def test_files_that_cannot_be_used_are_refused_before_anything_starts(
    options: list[str], words: str, file: Path, home: Path, abserve: Run
) -> None:
    for detached in ([], ["--detach"]):
        ended = abserve(
            "up", *detached, *(str(file) if each == "FILE" else each for each in options)
        )
        assert (ended.code, ended.out) == (1, "")
        assert f"{file} {words}" in ended.err
        assert not (home / "processes.json").exists()
