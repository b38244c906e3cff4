"""What a folder says is to be served, and how; refused before anything is started if it is unsafe.

MLServer's defaults are made for trying it out: tracebacks in answers, worker processes that lose
counts and requests, batches that mix the rows of several callers, one cache for all versions. What
a folder leaves open is closed here, and what it opens on purpose is refused.
"""

from collections.abc import Sequence
from pathlib import Path

from mlserver import ModelSettings, Settings
from mlserver.repository.load import load_model_settings
from pydantic import ValidationError

from abserve.artifacts import MODEL_SETTINGS, SETTINGS
from abserve.errors import ArtifactError
from abserve.signatures import public_key_from_environment, verify_signature

FOLDER_VARIABLE = "MLSERVER_MODELS_DIR"


def read_folder(folder: Path) -> tuple[Settings, list[ModelSettings]]:
    """Return how to serve `folder`, and all the models in it.

    Parameters
    ----------
    folder : Path
        A version's folder, or one that holds several.

    Raises
    ------
    ArtifactError
        If there is nothing to serve, a settings file in it cannot be read or asks for something
        unsafe, or a public key is configured and what the folder holds is not signed with it.
        MLServer itself would log that and serve the rest.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder} is no folder; name the folder of a published version, or set "
            f"{FOLDER_VARIABLE} to it"
        )
    folders = _find_versions(folder.resolve())
    if not folders:
        raise ArtifactError(
            f"{folder} holds no {MODEL_SETTINGS}, so there is nothing to serve; name the folder of "
            "a published version"
        )
    # Before any of its settings are read: they name the code that is run.
    _verify_signatures(folder, folders)
    path = folder / SETTINGS
    try:
        settings = Settings.model_validate_json(path.read_bytes() if path.is_file() else "{}")
        settings.model_repository_root = str(folder)
        models = []
        for each in folders:
            path = each / MODEL_SETTINGS
            models.append(load_model_settings(str(path)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path} is no settings file: {where}: {first['msg']}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON settings: {error}") from error
    _close(settings)
    for model in models:
        if (model.max_batch_size or 0) > 1:
            raise ArtifactError(
                f"{model.name} has max_batch_size {model.max_batch_size}; expected none: MLServer "
                "gathers requests before they are checked, and one caller's can change another's "
                "answer"
            )
    return settings, models if settings.load_models_at_startup else []


def _find_versions(folder: Path) -> list[Path]:
    """Return the folders of versions, without those that are part of another version."""
    found: list[Path] = []
    # By folder: by path, "members/..." would come before the "model-settings.json" above it.
    for each in sorted(path.parent for path in folder.rglob(MODEL_SETTINGS)):
        if not any(each.is_relative_to(version) for version in found):
            found.append(each)
    return found


def _verify_signatures(folder: Path, versions: Sequence[Path]) -> None:
    key = public_key_from_environment()
    if key is None:
        return
    for each in versions:
        verify_signature(each, key)
    if (folder / SETTINGS).is_file() and folder.resolve() not in versions:
        raise ArtifactError(
            f"{folder / SETTINGS} is not part of a signed version, and settings name code that is "
            "run; serve one version's folder, or remove the file"
        )


def _close(settings: Settings) -> None:
    """Set what was left open to what is safe, and true of us; refuse what was opened."""
    given = settings.model_fields_set
    for name, value in (
        ("parallel_workers", 0),
        ("debug", False),
        ("extensions", ["binary_tensor_data"]),
    ):
        if name not in given:
            setattr(settings, name, value)
    if settings.parallel_workers:
        raise ArtifactError(
            f"parallel_workers is {settings.parallel_workers}; expected 0: metrics, feedback and "
            "the fast path live in one process, so start more replicas instead"
        )
    if settings.debug:
        raise ArtifactError("debug is true; expected false: it puts tracebacks into answers")
    if settings.cache_enabled:
        raise ArtifactError(
            "cache_enabled is true; expected false: MLServer's cache answers for one version with "
            "what another one said"
        )
