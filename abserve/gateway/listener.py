"""What a user chooses about the gateway as a whole."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the certificate, with its chain, and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Jwt:
    """Whose tokens are taken: `jwks` is the text of a JSON Web Key Set (RFC 7517)."""

    issuer: str
    audience: str
    jwks: str


@dataclass(frozen=True, slots=True)
class Listener:
    """How the gateway takes requests; by default from anybody, as fast as they come.

    `requests_per_second` is also how many may come at once. `access_log` gets a line for each
    request.
    """

    tls: Tls | None = None
    jwt: Jwt | None = None
    requests_per_second: int | None = None
    access_log: Path | None = None

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"
