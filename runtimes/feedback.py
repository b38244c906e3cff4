"""The feedback token: what lets any replica count a ground truth it never saw predicted.

A response carries a token, the client keeps it, and sends it back with the ground truth when that
is known, perhaps weeks later and to another replica or version. The token says all that must be
known then - which version predicted which classes, when, for which request - so no server has to
remember a request. It is signed, because what it says is counted, and the counts decide which
version is promoted.

::

    base64url( format 1 byte | compression 1 byte | body | HMAC-SHA256 32 bytes )      no padding
    body = JSON [model, version, request id, assigned at, [class names], [class index per row]]

Tokens are opaque to clients: the layout may change with any release, which is what the first byte
is for.
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
from functools import cache

import orjson

from abserve.errors import FeedbackError

KEY_VARIABLE = "ABSERVE_FEEDBACK_KEY"
MAX_AGE_SECONDS = 30 * 24 * 3600
MAX_TOKEN_CHARS = 1 << 20

_FORMAT = 1
_PLAIN, _ZLIB = 0, 1
_HEAD = 2
_MAC_BYTES = 32
_MIN_KEY_BYTES = 16
_MIN_COMPRESSED_BYTES = 400  # a one-row token of a few classes is shorter, and does not shrink
# Keeps a signature made with the same key for another purpose from passing as ours.
_PURPOSE = b"abserve feedback token\0"

# Below MLServer's logger, whose handler and level it shares.
_logger = logging.getLogger("mlserver.abserve.feedback")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a token states: the labels one version gave to the rows of one request.

    `assigned_at` is in seconds since 1970; `indices` holds a position in `classes` for each row.
    """

    model: str
    version: str
    request_id: str
    assigned_at: int
    classes: tuple[str, ...]
    indices: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted class of each row."""
        return tuple(self.classes[index] for index in self.indices)


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
        self._key = key
        self._clock = clock

    def sign(
        self,
        *,
        model: str,
        version: str,
        request_id: str,
        classes: Sequence[str],
        indices: Sequence[int],
    ) -> str:
        """Return the token of a prediction made now.

        Parameters
        ----------
        model, version, request_id : str
            Who answered which request.
        classes : sequence of str
            All classes of that version, in the order of its schema.
        indices : sequence of int
            The predicted class of each row, as a position in `classes`.
        """
        content = [model, version, request_id, int(self._clock()), list(classes), list(indices)]
        body = orjson.dumps(content)
        compression = _PLAIN
        if len(body) >= _MIN_COMPRESSED_BYTES:
            smaller = zlib.compress(body)
            if len(smaller) < len(body):
                compression, body = _ZLIB, smaller
        signed = bytes((_FORMAT, compression)) + body
        return _encode(signed + self._mac(signed))

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
        signed, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not hmac.compare_digest(self._mac(signed), mac):
            raise FeedbackError(
                "the feedback token was altered, or signed with another key; send it exactly as "
                f"the response gave it, and start every replica with the same {KEY_VARIABLE}"
            )
        body = zlib.decompress(signed[_HEAD:]) if signed[1] == _ZLIB else signed[_HEAD:]
        owner, version, request_id, assigned_at, classes, indices = orjson.loads(body)
        if owner != model:
            raise FeedbackError(
                f"the feedback token belongs to model {owner!r}, not {model!r}; "
                f"send it to /v2/models/{owner}/feedback"
            )
        age_seconds = self._clock() - assigned_at
        if age_seconds > MAX_AGE_SECONDS:
            raise FeedbackError(
                f"the feedback token is {age_seconds / 86_400:.1f} days old; ground truth is "
                f"counted for {MAX_AGE_SECONDS // 86_400} days"
            )
        return Prediction(owner, version, request_id, assigned_at, tuple(classes), tuple(indices))

    def _mac(self, signed: bytes) -> bytes:
        return hmac.digest(self._key, _PURPOSE + signed, "sha256")


@cache
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
        "%s is not set: feedback tokens are signed with a random key of this process. Ground truth "
        "that reaches another replica, another version's server or this one after a restart will "
        "be refused. Set the same key for all servers of a model.",
        KEY_VARIABLE,
    )
    return FeedbackTokens(secrets.token_bytes(32))


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
    if len(raw) <= _HEAD + _MAC_BYTES or _encode(raw) != token:
        raise FeedbackError(
            "the feedback token is damaged or cut short; send it exactly as the response gave it"
        )
    if raw[0] != _FORMAT:
        raise FeedbackError(
            f"the feedback token has format {raw[0]}, this server reads format {_FORMAT}; "
            "it was made by another release, or damaged"
        )
    return raw
