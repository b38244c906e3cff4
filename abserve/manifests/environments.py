"""Which kustomizations one cluster is given.

``overlays/<environment>/`` and ``clusters/<environment>/`` say it by their path; Flux's
Kustomizations in the latter name further folders. What no environment has may refer to what any
has.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from abserve.manifests.documents import Document, dig, group_of, kind_of
from abserve.manifests.kustomizations import below, kustomization_in
from abserve.manifests.rendering import Rendered

LOCAL = "local"

OVERLAYS = "overlays"

_BY_PATH = (OVERLAYS, "clusters")
_FLUX = "kustomize.toolkit.fluxcd.io"


def environment_of(folder: Path) -> str | None:
    """Return the environment that a path names.

    Examples
    --------
    >>> environment_of(Path("manifests/overlays/production/iris"))
    'production'
    """
    parts = folder.parts
    for index, part in enumerate(parts[:-1]):
        if part in _BY_PATH:
            return parts[index + 1]
    return None


def own_sources(rendered: Mapping[Path, Rendered], repository: Path) -> frozenset[str]:
    """Return the names under which Flux knows this repository: those whose folders are here."""
    named = {
        _source(document)
        for each in rendered.values()
        for document in each.documents
        if _is_flux(document) and (repository / _path(document)).resolve() in rendered
    }
    return frozenset({*named, "flux-system"})


def flux_path_fault(document: Document, repository: Path, sources: Set[str]) -> Iterator[str]:
    """Yield that a Flux Kustomization applies a folder of this repository that is not there."""
    if not _is_flux(document) or _source(document) not in sources:
        return
    if not (repository / _path(document)).is_dir():
        yield (
            f"spec.path: found {_path(document)!r}, which is no folder of this repository; "
            "correct it"
        )


def by_environment(
    rendered: Mapping[Path, Rendered], applied: Sequence[Path], repository: Path
) -> dict[str | None, set[Path]]:
    """Return the folders that each environment is given; under None, those of no environment.

    Parameters
    ----------
    rendered : mapping of Path to Rendered
        All kustomizations of the tree, by folder.
    applied : sequence of Path
        The folders that nobody includes.
    repository : Path
        What Flux's paths start from.
    """
    given: dict[str | None, set[Path]] = {}
    for folder in applied:
        name = environment_of(folder)
        if name is not None:
            given.setdefault(name, set()).add(folder)
    sources = own_sources(rendered, repository)
    for folders in given.values():
        waiting = list(folders)
        while waiting:
            for named in _named_by_flux(rendered.get(waiting.pop()), repository, sources):
                if named not in folders and named in rendered:
                    folders.add(named)
                    waiting.append(named)
    claimed = {folder for folders in given.values() for folder in folders}
    rest = {folder for folder in applied if folder not in claimed}
    return {**given, None: rest} if rest else given


def _named_by_flux(
    rendered: Rendered | None, repository: Path, sources: Set[str]
) -> Iterator[Path]:
    for document in rendered.documents if rendered else ():
        if not _is_flux(document) or _source(document) not in sources:
            continue
        folder = (repository / _path(document)).resolve()
        alone = kustomization_in(folder)
        if alone is not None:
            yield alone.folder
        elif folder.is_dir():
            # Flux writes a kustomization of all that is below.
            found = below(folder)
            included = {each for other in found for each in other.included}
            yield from (each.folder for each in found if each.folder not in included)


def _is_flux(document: Document) -> bool:
    return kind_of(document) == "Kustomization" and group_of(document) == _FLUX


def _source(document: Document) -> str:
    return str(dig(document, "spec", "sourceRef", "name"))


def _path(document: Document) -> str:
    return str(dig(document, "spec", "path") or "./")
