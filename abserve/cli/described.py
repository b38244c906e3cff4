"""Versions of a model repository, with what they say of themselves and who uses them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from abserve.cli.context import Context
from abserve.errors import AbserveError, KubernetesError

if TYPE_CHECKING:
    from abserve.metadata import Metadata
    from abserve.promotion import Use
    from abserve.repository import Repository, Stored

_CLUSTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Described:
    """A published version; `metadata` is None, and `fault` says why, if it cannot be read."""

    stored: "Stored"
    metadata: "Metadata | None"
    fault: str | None

    @property
    def trained_at(self) -> datetime:
        """When it was trained; if that is not to be read, when it was written."""
        return self.metadata.trained_at if self.metadata else self.stored.written_at

    def to_json(self, users: "Sequence[Use] | None") -> dict[str, Any]:
        """Return the same as JSON values; what is not known is null."""
        metadata = self.metadata
        return {
            "model": self.stored.model,
            "version": self.stored.version,
            "trained_at": self.trained_at.isoformat(),
            "estimator": metadata.estimator if metadata else None,
            "evaluation": (
                {name: each.model_dump() for name, each in metadata.evaluation.items()}
                if metadata
                else None
            ),
            "n_fitted": metadata.n_fitted if metadata else None,
            "n_held_out": metadata.n_held_out if metadata else None,
            "signed": self.stored.signed,
            "size_bytes": self.stored.size_bytes,
            "used_by": None if users is None else [str(use) for use in users],
            "fault": self.fault,
        }


def described(repository: "Repository", model: str | None) -> list[Described]:
    """Return the published versions of one model or of all, by model and number."""
    stored = repository.stored(model)
    found = []
    for name in dict.fromkeys(each.model for each in stored):
        of_model = [each for each in stored if each.model == name]
        found += _of_one_model(repository, name, of_model)
    return found


def read_metadata_of(repository: "Repository", model: str, version: str) -> "Metadata":
    """Return what one version says of itself.

    Raises
    ------
    RepositoryError, ArtifactError
        If there is no such version, or its metadata are not what was published.
    """
    from abserve.artifacts import METADATA, parse_metadata

    content = repository.read(model, version, METADATA)
    return parse_metadata(content, f"{repository.url}/{model}/{version}/{METADATA}")


def uses_of_cluster(context: Context) -> "tuple[Use, ...]":
    """Return which versions the cluster serves.

    Raises
    ------
    KubernetesError
        If there is no cluster, or it cannot be asked.
    """
    from abserve.promotion import uses

    return uses(context.kubernetes(_CLUSTER_SECONDS))


def uses_if_any(context: Context) -> "tuple[tuple[Use, ...] | None, str | None]":
    """Return which versions the cluster serves; None, and why, if it cannot be asked.

    Where no cluster is configured there is nothing to tell, and no reason either.
    """
    from abserve.promotion import uses

    try:
        cluster = context.kubernetes(_CLUSTER_SECONDS)
    except KubernetesError as error:
        return None, str(error) if context.names_a_cluster else None
    try:
        return uses(cluster), None
    except KubernetesError as error:
        return None, str(error)


def _of_one_model(
    repository: "Repository", model: str, stored: "Sequence[Stored]"
) -> list[Described]:
    from abserve.artifacts import METADATA, parse_metadata

    contents = repository.read_each(model, [each.version for each in stored], METADATA)
    found = []
    for each in stored:
        content = contents[each.version]
        metadata, fault = None, None
        try:
            if isinstance(content, AbserveError):
                raise content
            where = f"{repository.url}/{model}/{each.version}/{METADATA}"
            metadata = parse_metadata(content, where)
        except AbserveError as error:
            fault = str(error)
        found.append(Described(each, metadata, fault))
    return found
