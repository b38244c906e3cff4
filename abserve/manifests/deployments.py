"""Whether a SeldonDeployment would be taken, run and answer: Seldon's rules, and ours."""

import re
from collections.abc import Iterator

from abserve.manifests.documents import Document, kind_of
from abserve.seldon import (
    KIND,
    Fault,
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
        The rule, ``schema``, ``admission`` or ``local``, and what is wrong.
    """
    rule = "schema"
    try:
        deployment = SeldonDeployment.parse(document)
        rule = "admission"
        admit(deployment)
        rule = "local"
        if local:
            supported(deployment)
    except InvalidManifestError as error:
        yield from ((rule, str(fault)) for fault in error.faults)
        return
    yield from (("admission", str(fault)) for fault in _own_rules(deployment))


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


def _own_rules(deployment: SeldonDeployment) -> Iterator[Fault]:
    nodes = list(dict.fromkeys(each.graph.name for each in deployment.spec.predictors))
    if len(nodes) > 1:
        yield Fault(
            "spec.predictors",
            f"graph nodes are named {', '.join(nodes)}, expected one name: a request names the "
            "node, and the other predictors answer it with 404; give all the same name",
            "FieldValueInvalid",
        )
    for index, predictor in enumerate(deployment.spec.predictors):
        if not 0 <= (predictor.traffic or 0) <= 100:  # noqa: PLR2004  # percent
            # Seldon's webhook looks at the sum only, and Istio then refuses the VirtualService.
            yield Fault(
                f"spec.predictors[{index}].traffic",
                f"found {predictor.traffic}, expected 0 to 100; change it",
                "FieldValueInvalid",
            )
