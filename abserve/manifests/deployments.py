"""Whether a SeldonDeployment would be taken, run and answer: Seldon's rules, and ours."""

import re
from collections.abc import Iterator

from abserve.manifests.documents import Document, kind_of
from abserve.manifests.predictors import predictor_faults
from abserve.seldon import (
    KIND,
    InvalidManifestError,
    SeldonDeployment,
    admit,
    supported,
    with_defaults,
)

_VERSION_PARTS = 2


def is_seldon_deployment(document: Document) -> bool:
    return kind_of(document) == KIND


def parsed(document: Document) -> SeldonDeployment | None:
    """Return the value of a document, with Seldon's defaults; None where it cannot be read.

    It need not be admitted: weights that are wrong do not change what else there is.
    """
    try:
        return with_defaults(SeldonDeployment.parse(document))
    except InvalidManifestError:
        return None


def admission_faults(document: Document, *, local: bool) -> Iterator[tuple[str, str]]:
    """Yield what Seldon's webhook would refuse; for one machine, also what that cannot run.

    Yields
    ------
    tuple of str and str
        The rule, and what is wrong: ``schema``, ``admission``, ``local``, or one of
        `predictor_faults`.
    """
    try:
        deployment = SeldonDeployment.parse(document)
    except InvalidManifestError as error:
        yield from (("schema", str(fault)) for fault in error.faults)
        return
    rule = "admission"
    try:
        admit(deployment)
        rule = "local"
        if local:
            supported(deployment)
    except InvalidManifestError as error:
        yield from ((rule, str(fault)) for fault in error.faults)
    yield from ((own, str(fault)) for own, fault in predictor_faults(deployment))


def version_of(model_uri: str) -> tuple[str, str] | None:
    """Return the model and the version whose folder a URI names, whatever the store is called.

    Examples
    --------
    >>> version_of("s3://models/iris/v3")
    ('iris', 'v3')
    """
    parts = re.split("[/:]", model_uri.rstrip("/"))[-_VERSION_PARTS:]
    if len(parts) < _VERSION_PARTS or not all(parts):
        return None
    return parts[0], parts[1]
