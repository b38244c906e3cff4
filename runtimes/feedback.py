"""The feedback token: what lets any replica count feedback on an answer it never saw given.

A response carries a token, the client keeps it, and sends it back with the ground truth or a reward
when that is known, perhaps weeks later and to another replica or version. The token says all that
must be known then - which version predicted what, when, for which request - so no server has to
remember a request. It is signed, because what it says is counted, and the counts decide which
version is promoted.

::

    base64url( format 1 byte | compression 1 byte | body | signature 32 bytes )       no padding
    format = 2; 3 if the request was not the first of its unit
    body = JSON [model, version, request id, assigned at, [class names] or null] | newline | rows
    rows = a class index (1 byte, or 4 if there are more than 256 classes) or a number (FP32)
           per row, little-endian

The signature is BLAKE2b, keyed (RFC 7693): as strong as an HMAC, in a third of the time. Tokens are
opaque to clients: the layout may change with any release, which is what the first byte is for.
"""

import base64
import binascii
import hmac
import logging
import os
import secrets
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from abserve.errors import FeedbackError
from runtimes.inference import Classified, Result
from runtimes.once import once_per_process

KEY_VARIABLE = "ABSERVE_FEEDBACK_KEY"
MAX_AGE_SECONDS = 30 * 24 * 3600
MAX_TOKEN_CHARS = 1 << 20
MAX_NAMED_CLASSES = 64

# Format 2 is that of releases that know no units: they read what we sign for a first exposure, and
# refuse the others, which they would count.
_FIRST, _REPEATED = 2, 3
_PLAIN, _ZLIB = 0, 1
_PLAIN_HEADS = {True: bytes((_FIRST, _PLAIN)), False: bytes((_REPEATED, _PLAIN))}
_ZLIB_HEADS = {True: bytes((_FIRST, _ZLIB)), False: bytes((_REPEATED, _ZLIB))}
_HEAD = 2
_SIGNATURE_BYTES = 32
_MIN_KEY_BYTES = 16
_MIN_COMPRESSED_BYTES = 400  # a one-row token of a few classes is shorter, and does not shrink
_FASTEST = 1
_NUMBER = np.dtype("<f4")
_SHORT_INDEX, _LONG_INDEX = np.dtype("<u1"), np.dtype("<u4")
_MAX_SHORT = 256
# Keeps a signature made with the same key for another purpose from passing as ours. 16 bytes.
_PURPOSE = b"abserve feedback"

# Below MLServer's logger, whose handler and level it shares.
_logger = logging.getLogger("mlserver.abserve.feedback")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a token states: what one version predicted for the rows of one request.

    `assigned_at` is in seconds since 1970. `first_exposure` tells whether it was the first request
    of its unit; of the others no outcome is counted. `predicted` holds a class of `classes` for
    each row; or a number, if `classes` is None, for then the version is a regressor. `classes` are
    those of the version, or if it has more than `MAX_NAMED_CLASSES`, those it predicted here.
    """

    model: str
    version: str
    request_id: str
    assigned_at: int
    first_exposure: bool
    classes: tuple[str, ...] | None
    predicted: tuple[str, ...] | tuple[float, ...]


class FeedbackTokens:
    """Signs and reads feedback tokens.

    Parameters
    ----------
    key : bytes
        The secret that all replicas of all versions share; at least 16 bytes.
    clock : callable, optional
        Returns the present time, in seconds since 1970.

    Raises
    ------
    FeedbackError
        If the key is too short to keep anyone from guessing it.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time) -> None:
        if len(key) < _MIN_KEY_BYTES:
            raise FeedbackError(
                f"the feedback key has {len(key)} bytes, expected at least {_MIN_KEY_BYTES}; "
                f"make one with `openssl rand -hex 32` and put it into {KEY_VARIABLE}"
            )
        # Hashed, for BLAKE2b takes no key longer than 64 bytes. Copied for each signature: to take
        # up the key anew would cost more than to sign.
        self._keyed = blake2b(
            digest_size=_SIGNATURE_BYTES, key=blake2b(key).digest(), person=_PURPOSE
        )
        self._clock = clock

    def sign(
        self,
        *,
        model: str,
        version: str,
        request_id: str,
        classes: Sequence[str] | None,
        result: Result,
        first_exposure: bool = True,
    ) -> str:
        """Return the token of a prediction made now.

        Parameters
        ----------
        model, version, request_id : str
            Who answered which request.
        classes : tuple or list of str, optional
            All classes of that version, in the order of its schema; None for a regressor.
        result : Result
            What it predicted.
        first_exposure : bool, optional
            Whether the request was the first of its unit.
        """
        if isinstance(result, Classified):
            classes, rows = _class_rows(classes or (), result.indices)
        else:
            classes, rows = None, result.prediction.astype(_NUMBER, copy=False).tobytes()
        content = (model, version, request_id, int(self._clock()), classes)
        body = orjson.dumps(content) + b"\n" + rows
        signed = _PLAIN_HEADS[first_exposure] + body
        # Numbers do not shrink.
        if len(body) >= _MIN_COMPRESSED_BYTES and classes is not None:
            smaller = zlib.compress(body, _FASTEST)
            if len(smaller) < len(body):
                signed = _ZLIB_HEADS[first_exposure] + smaller
        return _encode(signed + self._signature(signed))

    def read(self, token: str, model: str) -> Prediction:
        """Return what `token` states.

        Parameters
        ----------
        token : str
            As a client sent it: anything.
        model : str
            The model whose token it must be; any version of it.

        Raises
        ------
        FeedbackError
            If we did not sign the token, or it is damaged, too large, too old or another model's.
        """
        raw = _decode(token)
        signed, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        if not hmac.compare_digest(self._signature(signed), signature):
            raise FeedbackError(
                "the feedback token was altered, or signed with another key; send it exactly as "
                f"the response gave it, and start every replica with the same {KEY_VARIABLE}"
            )
        body = zlib.decompress(signed[_HEAD:]) if signed[1] == _ZLIB else signed[_HEAD:]
        # JSON escapes a newline inside a text, so the first one is ours.
        content, _, rows = body.partition(b"\n")
        owner, version, request_id, assigned_at, classes = orjson.loads(content)
        if owner != model:
            raise FeedbackError(
                f"the feedback token belongs to model {owner!r}, not {model!r}; "
                f"send it to /v2/models/{owner}/feedback"
            )
        age_seconds = self._clock() - assigned_at
        if age_seconds > MAX_AGE_SECONDS:
            raise FeedbackError(
                f"the feedback token is {age_seconds / 86_400:.1f} days old; feedback is "
                f"counted for {MAX_AGE_SECONDS // 86_400} days"
            )
        about = (owner, version, request_id, assigned_at, signed[0] == _FIRST)
        if classes is None:
            return Prediction(*about, None, tuple(np.frombuffer(rows, _NUMBER).tolist()))
        indices = np.frombuffer(rows, _index_type(len(classes))).tolist()
        return Prediction(*about, tuple(classes), tuple(classes[index] for index in indices))

    def _signature(self, signed: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(signed)
        return keyed.digest()


@once_per_process
def process_tokens() -> FeedbackTokens:
    """Return the tokens of this process, keyed from the environment.

    Raises
    ------
    FeedbackError
        If the environment holds a key that is too short.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if key:
        return FeedbackTokens(key.encode())
    _logger.warning(
        "%s is not set: feedback tokens are signed with a random key of this process. Feedback "
        "that reaches another replica, another version's server or this one after a restart will "
        "be refused. Set the same key for all servers of a model.",
        KEY_VARIABLE,
    )
    return FeedbackTokens(secrets.token_bytes(32))


def _class_rows(classes: Sequence[str], indices: NDArray[np.int64]) -> tuple[Sequence[str], bytes]:
    """Return the classes that a token names, and the position of each row's class among them."""
    if len(classes) > MAX_NAMED_CLASSES:
        # Thousands of names would make the token larger than the answer.
        named, indices = np.unique(indices, return_inverse=True)
        classes = [classes[index] for index in named.tolist()]
    return classes, indices.astype(_index_type(len(classes))).tobytes()


def _index_type(n_classes: int) -> np.dtype[Any]:
    return _SHORT_INDEX if n_classes <= _MAX_SHORT else _LONG_INDEX


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARS:
        raise FeedbackError(
            f"the feedback token has {len(token)} characters; none of ours is longer than "
            f"{MAX_TOKEN_CHARS}"
        )
    try:
        raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    # The decoder skips what is not base64 and ignores unused bits, so that several texts would
    # name one token; only the one we sent is taken.
    if len(raw) <= _HEAD + _SIGNATURE_BYTES or _encode(raw) != token:
        raise FeedbackError(
            "the feedback token is damaged or cut short; send it exactly as the response gave it"
        )
    if raw[0] not in {_FIRST, _REPEATED}:
        raise FeedbackError(
            f"the feedback token has format {raw[0]}, this server reads formats {_FIRST} and "
            f"{_REPEATED}; it was made by another release, or damaged"
        )
    return raw
