import logging
import string
from collections.abc import Callable

import numpy as np
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
from runtimes.inference import Classified, Regressed

KEY = b"sixteen bytes at least"
NOW = 1_800_000_000
FLOWERS = ("setosa", "virginica")
PREDICTION = Prediction("iris", "v3", "r-1", NOW, True, FLOWERS, ("virginica",))


def tokens(key: bytes = KEY, now: float = NOW) -> FeedbackTokens:
    return FeedbackTokens(key, clock=lambda: now)


def sign(
    *indices: int,
    classes: tuple[str, ...] = FLOWERS,
    request_id: str = "r-1",
    signer: FeedbackTokens | None = None,
    first_exposure: bool = True,
) -> str:
    """The token of rows with these classes; of one virginica, if none are given."""
    rows = np.array(indices or (1,))
    probability = np.ones((len(rows), 1), dtype=np.float32)  # of which a token says nothing
    return (signer or tokens()).sign(
        model="iris",
        version="v3",
        request_id=request_id,
        classes=classes,
        result=Classified(rows, probability),
        first_exposure=first_exposure,
    )


def sign_numbers(*numbers: float) -> str:
    return tokens().sign(
        model="iris",
        version="v3",
        request_id="r-1",
        classes=None,
        result=Regressed(np.array(numbers, dtype=np.float32)),
    )


def test_a_token_is_read_as_it_was_signed() -> None:
    assert tokens().read(sign(), "iris") == PREDICTION


def test_a_token_states_the_class_of_each_row() -> None:
    assert tokens().read(sign(0, 1, 1), "iris").predicted == ("setosa", "virginica", "virginica")


def test_a_token_states_the_number_of_each_row() -> None:
    prediction = tokens().read(sign_numbers(1.5, -2, 3e38), "iris")
    assert prediction == Prediction(
        "iris", "v3", "r-1", NOW, True, None, (1.5, -2.0, float(np.float32(3e38)))
    )


def test_numbers_are_stated_as_fp32() -> None:
    assert tokens().read(sign_numbers(0.1), "iris").predicted == (float(np.float32(0.1)),)


def test_a_number_takes_four_bytes() -> None:
    one, thousand = sign_numbers(0.1), sign_numbers(*[0.1] * 1000)
    assert len(one) < 130
    assert len(thousand) < len(one) + 1000 * 4 * 4 / 3 + 2


@pytest.mark.parametrize("n_classes", [2, 64, 65, 256, 257, 70_000])
def test_any_number_of_classes_can_be_stated(n_classes: int) -> None:
    classes = tuple(f"class {i}" for i in range(n_classes))
    token = sign(0, n_classes - 1, n_classes // 2, 0, classes=classes)
    assert tokens().read(token, "iris").predicted == (
        "class 0",
        f"class {n_classes - 1}",
        f"class {n_classes // 2}",
        "class 0",
    )


def test_more_classes_than_a_byte_can_say_may_be_predicted_at_once() -> None:
    classes = tuple(f"{i}" for i in range(10_000))
    token = sign(*range(10_000), classes=classes)
    assert tokens().read(token, "iris").predicted == classes


def test_a_token_of_few_classes_names_them_all() -> None:
    classes = tuple(f"class {i}" for i in range(64))
    assert tokens().read(sign(3, classes=classes), "iris").classes == classes


def test_a_token_of_many_classes_names_those_it_predicted() -> None:
    classes = tuple(f"class {i}" for i in range(1000))
    token = sign(3, 500, 3, classes=classes)
    assert len(token) < 200
    assert tokens().read(token, "iris").classes == ("class 3", "class 500")


def test_another_replica_with_the_same_key_reads_a_token() -> None:
    assert FeedbackTokens(KEY, clock=lambda: NOW).read(sign(), "iris") == PREDICTION


def test_class_names_may_be_any_text() -> None:
    classes = ("sétosa ☘", '"],\\', "two\nlines")
    prediction = tokens().read(sign(2, 0, 1, classes=classes), "iris")
    assert prediction.predicted == ("two\nlines", "sétosa ☘", '"],\\')


def test_a_class_index_may_be_any_byte() -> None:
    """Ten is a newline, which ends the part before the rows."""
    classes = tuple(f"class {i}" for i in range(14))
    prediction = tokens().read(sign(10, 0, 13, 10, classes=classes), "iris")
    assert prediction.predicted == ("class 10", "class 0", "class 13", "class 10")


def test_a_token_is_safe_in_a_url_and_short() -> None:
    token = sign()
    assert set(token) <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert len(token) < 150


def test_a_token_of_many_rows_is_compressed() -> None:
    token = sign(*(0, 1) * 5000)
    assert len(token) < 1000
    assert tokens().read(token, "iris").predicted == FLOWERS * 5000


@pytest.mark.parametrize("rows", [1, 2, 3, 10_000])
def test_a_change_of_any_byte_is_noticed(rows: int) -> None:
    token = sign(*[1] * rows)
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
    with pytest.raises(FeedbackError, match="has format 1, this server reads formats 2 and 3"):
        tokens().read("AQ" + sign()[2:], "iris")


@pytest.mark.parametrize("n_rows", [1, 5000])
def test_a_token_tells_whether_its_request_was_the_first_of_its_unit(n_rows: int) -> None:
    rows = [1] * n_rows
    first, second = sign(*rows), sign(*rows, first_exposure=False)
    assert tokens().read(first, "iris").first_exposure is True
    assert tokens().read(second, "iris").first_exposure is False


def test_a_token_of_releases_that_knew_no_units_is_a_first_exposure() -> None:
    token = (
        "AgBbImlyaXMiLCJ2MyIsInItMSIsMTgwMDAwMDAwMCxbInNldG9zYSIsInZpcmdpbmljYSJdXQoBlTN6LzLgjoaPg1FU"
        "Iuz9xNH2yHyL_xV80pzJD0NfBzQ"
    )
    assert tokens().read(token, "iris") == PREDICTION


def test_a_token_lives_thirty_days_and_no_longer() -> None:
    tokens(now=NOW + MAX_AGE_SECONDS).read(sign(), "iris")
    with pytest.raises(FeedbackError, match="30 days"):
        tokens(now=NOW + MAX_AGE_SECONDS + 1).read(sign(), "iris")


def test_a_token_of_a_replica_whose_clock_is_ahead_is_read() -> None:
    assert tokens(now=NOW - 60).read(sign(), "iris") == PREDICTION


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(FeedbackError, match="has 6 bytes, expected at least 16"):
        FeedbackTokens(b"secret")


def test_a_long_key_counts_whole() -> None:
    """BLAKE2b takes 64 bytes of key; what lies beyond them must matter too."""
    theirs, ours = FeedbackTokens(b"k" * 64 + b"theirs"), FeedbackTokens(b"k" * 64 + b"ours")
    theirs.read(sign(signer=theirs), "iris")
    with pytest.raises(FeedbackError, match="altered"):
        ours.read(sign(signer=theirs), "iris")


def test_without_a_key_a_warning_says_what_that_means(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    # What the cache wraps: the process's own tokens stay as other tests have them.
    with caplog.at_level(logging.WARNING, logger="mlserver"):
        made = process_tokens.__wrapped__()
    assert "another replica" in caplog.text
    assert made.read(sign(signer=made), "iris").request_id == "r-1"


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY.decode())
    assert process_tokens.__wrapped__().read(sign(signer=FeedbackTokens(KEY)), "iris")
