"""Whether an image is always the same one, wherever and whenever it is pulled."""

import re
from collections.abc import Iterator

from abserve.manifests.documents import Document, containers
from abserve.manifests.findings import Severity

# Where nothing may run that is not named by its content.
BY_DIGEST = ("staging", "production")
UNPUBLISHED = f"sha256:{'0' * 64}"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MOVING = {"latest", "main", "master", "stable", "edge", "dev", "develop", "nightly", "head"}


def image_faults(
    document: Document, environment: str | None, *, published: bool
) -> Iterator[tuple[str, Severity]]:
    """Yield what is wrong with the images of a document's containers."""
    fields: dict[str, list[str]] = {}
    for field, container in containers(document):
        # Of a prepackaged server there may be none; elsewhere the schema asks for one.
        if isinstance(container.get("image"), str):
            fields.setdefault(container["image"], []).append(f"{field}.image")
    for image, named_at in fields.items():
        unpublished = image.endswith(f"@{UNPUBLISHED}")
        if unpublished and not published:
            reason = "a digest of zeros: the image is not published yet"
        elif unpublished:
            reason = "a digest of zeros: publish the image, and write its digest"
        else:
            reason = _reason(image, environment)
        if reason:
            severity = Severity.NOTE if unpublished and not published else Severity.ERROR
            yield f"{', '.join(named_at)}: found {image!r}, {reason}", severity


def _reason(image: str, environment: str | None) -> str:
    """Return why an image is not always the same one; empty if it is."""
    path, at, digest = image.partition("@")
    _, colon, tag = path.rpartition("/")[2].partition(":")
    if at:
        good = _DIGEST.fullmatch(digest)
        return "" if good else "expected a digest of sha256: and 64 hexadecimal digits; correct it"
    if environment in BY_DIGEST:
        return f"expected a digest: {environment} runs images by their content; add it"
    if not colon:
        return "expected a tag or a digest: without one it is 'latest'; add one"
    if tag.lower() in _MOVING:
        return "expected the tag of a version: this one moves to other images; name one"
    return ""
