"""Open the members of an ensemble: each a whole version, served by its own runtime."""

import json
from pathlib import Path

from mlserver import ModelSettings
from pydantic import ValidationError

from abserve.artifacts import MODEL_SETTINGS
from abserve.errors import ArtifactError
from abserve.metadata import Metadata
from abserve.schema import Feature, Schema
from runtimes.opened import Estimator
from runtimes.runtime import Runtime, open_version
from runtimes.texts import enumerate_names

MEMBERS = "members"
MIN_MEMBERS = 2
MAX_MEMBERS = 32


def open_members(folder: Path, ensemble: Metadata) -> list[Estimator]:
    """Return the estimators of the members in an ensemble's folder, in the order of their names.

    Parameters
    ----------
    folder : Path
        The ensemble's, whose files are known to be as they were published.
    ensemble : Metadata
        What the same version says of itself.

    Raises
    ------
    ArtifactError
        If there are too few or too many members, or one cannot be opened, goes by the ensemble's
        name and version, or takes other features or knows other classes.
    """
    parent = folder / MEMBERS
    folders = sorted(parent.iterdir()) if parent.is_dir() else []
    if not MIN_MEMBERS <= len(folders) <= MAX_MEMBERS:
        raise ArtifactError(
            f"{parent} has {len(folders)} members, expected {MIN_MEMBERS} to {MAX_MEMBERS}: a "
            "folder for each, holding a whole version"
        )
    return [_open_member(each, ensemble) for each in folders]


def _open_member(folder: Path, ensemble: Metadata) -> Estimator:
    settings = _read_settings(folder / MODEL_SETTINGS)
    runtime = _find_runtime(settings, folder)
    metadata = open_version(folder, settings.name, settings.version)
    if (metadata.model, metadata.version) == (ensemble.model, ensemble.version):
        # Stock MLServer serves the members too, and of two by one name it keeps the last.
        raise ArtifactError(
            f"member {folder.name!r} calls itself {metadata.model} {metadata.version}, as the "
            "ensemble does; give it a name or a version of its own"
        )
    if difference := _difference(metadata.schema_, ensemble.schema_):
        raise ArtifactError(
            f"member {folder.name!r} ({metadata.model} {metadata.version}) {difference}; all "
            f"members of {folder.parent.parent} must take what it takes and know what it knows"
        )
    return runtime.open_parts(folder, metadata, settings).estimator


def _read_settings(path: Path) -> ModelSettings:
    try:
        return ModelSettings.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read ({error.strerror}); a member is a whole version"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path} is no settings file: {where}: {first['msg']}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON settings: {error}") from error


def _find_runtime(settings: ModelSettings, folder: Path) -> type[Runtime]:
    # The settings do not know which file they are from. If they did, MLServer would look for the
    # class in the member's folder first, and run what it finds there.
    path = settings.implementation_
    try:
        found = settings.implementation
    except (ImportError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"member {folder.name!r} names the runtime {path}, which cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Runtime)):
        raise ArtifactError(
            f"member {folder.name!r} names the runtime {path}, which is none of abserve's; members "
            "are opened, not asked over MLServer's protocol, so it must be a runtimes.runtime."
            "Runtime"
        )
    return found


def _difference(member: Schema, ensemble: Schema) -> str | None:
    """Say what a member would not do with a row that the ensemble has read, None if nothing."""
    if member.picture is not None:
        return "takes pictures, which an ensemble does not read"
    if member.feature_names != ensemble.feature_names:
        return (
            f"has the features {enumerate_names(member.feature_names)}, the ensemble "
            f"{enumerate_names(ensemble.feature_names)}"
        )
    if member.classes != ensemble.classes:
        return f"has {_named(member.classes)}, the ensemble {_named(ensemble.classes)}"
    for own, read in zip(member.features, ensemble.features, strict=True):
        if own.missing == "refuse" and read.missing == "allow":
            return f"refuses a missing {own.name}, which the ensemble allows"
        if own.outside == "refuse" and _range(own) != _range(read):
            return (
                f"refuses a {own.name} outside [{own.minimum}, {own.maximum}], which the ensemble "
                "does not"
            )
    return None


def _named(classes: tuple[str, ...] | None) -> str:
    return "no classes" if classes is None else f"the classes {enumerate_names(classes)}"


def _range(feature: Feature) -> tuple[float | None, float | None, str]:
    return feature.minimum, feature.maximum, feature.outside
