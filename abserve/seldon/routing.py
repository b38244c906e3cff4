"""What annotations of a SeldonDeployment ask of the gateway, and which variant stands where.

As the operator does, an annotation is looked for in ``spec.annotations`` first, then in
``metadata.annotations``.

With `STICKY`, Envoy hashes a unit to one of a hundred places in a row, and each variant holds a
stretch of the row as long as its weight::

    others, by name │ baseline │ candidate            in this order, however the file has them
                    0 ──────────────────── 99

When one of the baseline's neighbours grows at the baseline's cost, the border between the two
moves, and no other: units go from the baseline to it, and nowhere else. With up to three variants
every one is a neighbour of the baseline. Beyond that, those further left pass units on to each
other.
"""

import re

from abserve.seldon.admission import Faults
from abserve.seldon.changes import BASELINE, CANDIDATE
from abserve.seldon.faults import Fault
from abserve.seldon.resource import Predictor, SeldonDeployment

STICKY = "abserve.io/sticky"
UNIT_HEADER = "abserve.io/unit-header"
RETRIES = "seldon.io/istio-retries"
RETRIES_TIMEOUT = "seldon.io/istio-retries-timeout"

USUAL_UNIT_HEADER = "x-unit-id"
_USUAL_SECONDS_PER_TRY = 1

# What gRPC takes for the name of metadata; HTTP does not care about upper and lower case.
_HEADER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_PLACES = {BASELINE: 1, CANDIDATE: 2}


def place_of(variant: Predictor) -> tuple[int, str]:
    """Return what variants are sorted by to stand in the row."""
    return _PLACES.get(variant.name, 0), variant.name


def unit_header(deployment: SeldonDeployment) -> str | None:
    """Return the header that names the unit, or None where assignment is not sticky."""
    if not _is_sticky(deployment):
        return None
    return _annotation(deployment, UNIT_HEADER)[1] or USUAL_UNIT_HEADER


def retries(deployment: SeldonDeployment) -> tuple[int, int] | None:
    """Return how many retries are asked for, and the seconds each try may take.

    None is the gateway's own choice; it is also what the operator makes of 0.
    """
    attempts = int(_annotation(deployment, RETRIES)[1] or 0)
    seconds = int(_annotation(deployment, RETRIES_TIMEOUT)[1] or _USUAL_SECONDS_PER_TRY)
    return (attempts, seconds) if attempts else None


def routing_faults(deployment: SeldonDeployment) -> Faults:
    for name, pattern, expected in (
        (STICKY, re.compile("true|false"), '"true" or "false"'),
        (UNIT_HEADER, _HEADER, "a header's name in lower case, such as x-user"),
        (RETRIES, re.compile("[0-9]{1,3}"), "how often to try again, 0 to 999"),
        (RETRIES_TIMEOUT, re.compile("[1-9][0-9]{0,5}"), "the seconds that a try may take, from 1"),
    ):
        field, value = _annotation(deployment, name)
        if value is not None and not pattern.fullmatch(value):
            message = f"found {value!r}, expected {expected}; change it"
            yield Fault(field, message, "FieldValueInvalid")


def heeded_annotations(deployment: SeldonDeployment) -> set[str]:
    """Return the annotations of the deployment, or of its spec, that have an effect."""
    heeded = {STICKY, RETRIES}
    if _is_sticky(deployment):
        heeded.add(UNIT_HEADER)
    if _annotation(deployment, RETRIES)[1]:
        heeded.add(RETRIES_TIMEOUT)
    return heeded


def _is_sticky(deployment: SeldonDeployment) -> bool:
    return _annotation(deployment, STICKY)[1] == "true"


def _annotation(deployment: SeldonDeployment, name: str) -> tuple[str, str | None]:
    """Return where an annotation stands, and its value."""
    if name in deployment.spec.annotations:
        return f"spec.annotations[{name}]", deployment.spec.annotations[name]
    return f"metadata.annotations[{name}]", deployment.metadata.annotations.get(name)
