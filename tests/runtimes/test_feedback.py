import logging
import string
from collections.abc import Callable

import pytest

from abserve.errors import FeedbackError
from runtimes.feedback import (
    KEY_VARIABLE,
    MAX_AGE_SECONDS,
    MAX_TOKEN_CHARS,
    FeedbackTokens,
    Prediction,
    process_tokens,
)

KEY = b"sixteen bytes at least"
NOW = 1_800_000_000
PREDICTION = Prediction("iris", "v3", "r-1", NOW, ("setosa", "virginica"), (1,))


def tokens(key: bytes = KEY, now: float = NOW) -> FeedbackTokens:
    return FeedbackTokens(key, clock=lambda: now)


def sign(prediction: Prediction = PREDICTION, signer: FeedbackTokens | None = None) -> str:
    return (signer or tokens()).sign(
        model=prediction.model,
        version=prediction.version,
        request_id=prediction.request_id,
        classes=prediction.classes,
        indices=prediction.indices,
    )


def test_a_token_is_read_as_it_was_signed() -> None:
    assert tokens().read(sign(), "iris") == PREDICTION


def test_a_prediction_names_its_labels() -> None:
    assert PREDICTION.labels == ("virginica",)


def test_another_replica_with_the_same_key_reads_a_token() -> None:
    assert FeedbackTokens(KEY, clock=lambda: NOW).read(sign(), "iris") == PREDICTION


def test_class_names_may_be_any_text() -> None:
    prediction = Prediction("iris", "v3", "r", NOW, ("sétosa ☘", '"],\\'), (0, 1, 0))
    assert tokens().read(sign(prediction), "iris") == prediction


def test_a_token_is_safe_in_a_url_and_short() -> None:
    token = sign()
    assert set(token) <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert len(token) < 150


def test_a_token_of_many_rows_is_compressed() -> None:
    prediction = Prediction("iris", "v3", "r", NOW, ("a", "b", "c"), tuple(range(3)) * 3333)
    token = sign(prediction)
    assert len(token) < 1000
    assert tokens().read(token, "iris") == prediction


@pytest.mark.parametrize("rows", [1, 2, 3, 10_000])
def test_a_change_of_any_byte_is_noticed(rows: int) -> None:
    token = sign(Prediction("iris", "v3", "r-1", NOW, ("setosa", "virginica"), (1,) * rows))
    read = 0
    for at, char in enumerate(token):
        for other in "AQz9-_" if rows == 1 else "AB":
            if other != char:
                with pytest.raises(FeedbackError):
                    tokens().read(token[:at] + other + token[at + 1 :], "iris")
                read += 1
    assert read >= len(token)


def test_a_token_cut_anywhere_is_refused() -> None:
    token = sign()
    for end in range(len(token)):
        with pytest.raises(FeedbackError):
            tokens().read(token[:end], "iris")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: " " + token,
        lambda token: token + "\n",
        lambda token: token + "=",
        lambda token: token + "A",
        lambda token: token + "!!!!",
        lambda token: token * 2,
        lambda token: token[:20] + "é" + token[21:],
        lambda token: token[:20] + "\x00" + token[20:],
        lambda token: "null",
    ],
)
def test_what_is_not_exactly_a_token_is_refused(spoil: Callable[[str], str]) -> None:
    with pytest.raises(FeedbackError, match=r"damaged or cut short|format|altered"):
        tokens().read(spoil(sign()), "iris")


def test_a_token_signed_with_another_key_is_refused() -> None:
    foreign = sign(signer=tokens(b"another key of ours"))
    with pytest.raises(FeedbackError, match=f"another key; .* the same {KEY_VARIABLE}"):
        tokens().read(foreign, "iris")


def test_a_token_of_another_model_is_refused() -> None:
    with pytest.raises(FeedbackError, match="belongs to model 'iris', not 'wine'"):
        tokens().read(sign(), "wine")


def test_a_token_larger_than_any_of_ours_is_refused_unread() -> None:
    with pytest.raises(FeedbackError, match="none of ours is longer"):
        tokens().read("A" * (MAX_TOKEN_CHARS + 1), "iris")


def test_a_token_of_another_format_is_refused() -> None:
    with pytest.raises(FeedbackError, match="has format 2, this server reads format 1"):
        tokens().read("Ag" + sign()[2:], "iris")


def test_a_token_lives_thirty_days_and_no_longer() -> None:
    tokens(now=NOW + MAX_AGE_SECONDS).read(sign(), "iris")
    with pytest.raises(FeedbackError, match="30 days"):
        tokens(now=NOW + MAX_AGE_SECONDS + 1).read(sign(), "iris")


def test_a_token_of_a_replica_whose_clock_is_ahead_is_read() -> None:
    assert tokens(now=NOW - 60).read(sign(), "iris") == PREDICTION


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(FeedbackError, match="has 6 bytes, expected at least 16"):
        FeedbackTokens(b"secret")


def test_without_a_key_a_warning_says_what_that_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    # What the cache wraps: the process's own tokens stay as other tests have them.
    with caplog.at_level(logging.WARNING, logger="mlserver"):
        made = process_tokens.__wrapped__()
    assert "another replica" in caplog.text
    assert made.read(sign(signer=made), "iris").request_id == "r-1"


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY.decode())
    assert process_tokens.__wrapped__().read(sign(signer=FeedbackTokens(KEY)), "iris")
