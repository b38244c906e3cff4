"""Whether the versions that manifests name are in the model repository, and signed."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from abserve.artifacts import MODEL_SETTINGS, read_metadata
from abserve.errors import ArtifactError
from abserve.manifests.deployments import version_of
from abserve.names import is_model_name, is_version_name
from abserve.repository import Repository
from abserve.seldon import SeldonDeployment
from abserve.signatures import verify_signature


class Versions:
    """The versions of one repository; each is fetched once.

    Parameters
    ----------
    repository : Repository
        Where the versions are, whatever the manifests call the store.
    public_key : Path, optional
        PEM file of the keys that are trusted; without it no signature is asked for.
    """

    def __init__(self, repository: Repository, public_key: Path | None = None) -> None:
        self._repository = repository
        self._public_key = public_key
        self._found: dict[tuple[str, str], tuple[str | None, str | None]] = {}

    @property
    def signatures(self) -> bool:
        """Whether signatures are checked."""
        return self._public_key is not None

    def faults(self, deployment: SeldonDeployment) -> Iterator[str]:
        """Yield what is wrong with the versions of a SeldonDeployment.

        Raises
        ------
        RepositoryError
            If the repository cannot be read.
        """
        for index, predictor in enumerate(deployment.spec.predictors):
            uri = predictor.graph.model_uri
            if not uri:
                continue
            field = f"spec.predictors[{index}].graph.modelUri"
            named = version_of(uri)
            if named is None or not (is_model_name(named[0]) and is_version_name(named[1])):
                yield (
                    f"{field}: found {uri!r}, expected a version's folder, "
                    "such as s3://models/iris/v1; change it"
                )
                continue
            if named not in self._found:
                self._found[named] = self._fetched(*named)
            fault, served_as = self._found[named]
            if fault is not None:
                yield f"{field}: {fault}"
            elif served_as is not None and served_as != predictor.graph.name:
                yield (
                    f"spec.predictors[{index}].graph.name: found {predictor.graph.name!r}, but "
                    f"{'/'.join(named)} is served as {served_as!r}, and MLServer answers any other "
                    "name with 404; make them equal"
                )

    def _fetched(self, model: str, version: str) -> tuple[str | None, str | None]:
        """Return what is wrong with a version, and the name that its model settings give."""
        url = f"{self._repository.url}/{model}/{version}"
        if not self._repository.holds(model, version):
            there = ", ".join(self._repository.versions(model)) or "no version"
            return (
                f"{self._repository.url} has no {model} {version}; there: {there}; publish it "
                "first, or name one that is there",
                None,
            )
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / version
            try:
                self._repository.download(model, version, folder)
                if self._public_key is not None:
                    verify_signature(folder, self._public_key)
                metadata = read_metadata(folder)
                settings = json.loads((folder / MODEL_SETTINGS).read_bytes())
            except ArtifactError as error:
                # The copy is gone when the message is read.
                return str(error).replace(str(folder), url), None
            except (OSError, ValueError) as error:
                return f"{url}/{MODEL_SETTINGS} cannot be read ({error}); publish it anew", None
        # Checksums and signature are as good in any folder.
        if (metadata.model, metadata.version) != (model, version):
            found = f"{metadata.model} {metadata.version}"
            return f"{url} holds {found}, which somebody put in its place; find out who", None
        name = settings.get("name") if isinstance(settings, dict) else None
        return None, str(name) if name else None
