"""Versions in and out of a repository."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

import fsspec

from abserve.artifacts import CHECKSUMS, SIGNATURE, parse_checksums, verify
from abserve.errors import AbserveError, ArtifactError, RepositoryError, VersionExistsError
from abserve.names import (
    check_model_name,
    check_version_name,
    is_model_name,
    is_version_name,
    version_number,
)
from abserve.repository.claims import Claim
from abserve.repository.disk import Disk
from abserve.repository.objects import ObjectStore, options_for
from abserve.repository.stores import Entry, Store

_MODEL_VERSION_FILE = 3


@dataclass(frozen=True, slots=True)
class Stored:
    """A published version, as far as its files tell without being read."""

    model: str
    version: str
    written_at: datetime
    size_bytes: int
    signed: bool


class Repository:
    """A tree of versions at a URL.

    Parameters
    ----------
    url : str
        ``file:///folder``, ``s3://bucket/prefix`` or any other URL fsspec can open. Credentials
        and endpoints come from the store's own environment variables (``AWS_*`` and so on).

    Raises
    ------
    RepositoryError
        If the URL names no store that is installed. Every method raises it as well if the store
        refuses or does not answer, or a name is not allowed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._store = _open(self.url)

    @property
    def folder(self) -> Path | None:
        """The repository's folder if it lies on this machine's disk, else None."""
        return self._store.folder

    def models(self) -> tuple[str, ...]:
        """Return the models that have a published version, sorted."""
        return tuple(dict.fromkeys(each.model for each in self.stored()))

    def versions(self, model: str) -> tuple[str, ...]:
        """Return the published versions of `model`, oldest first; none of an unknown model."""
        return tuple(each.version for each in self.stored(model))

    def stored(self, model: str | None = None) -> tuple[Stored, ...]:
        """Return the published versions of one model or of all, by model and number.

        The store is asked once, however many versions there are.
        """
        if model is not None:
            check_model_name(model, RepositoryError)
        folders: dict[tuple[str, str], dict[str, Entry]] = {}
        for path, entry in self._store.under(model or "").items():
            parts = (f"{model}/{path}" if model else path).split("/", _MODEL_VERSION_FILE - 1)
            if len(parts) == _MODEL_VERSION_FILE:
                name, version, file = parts
                folders.setdefault((name, version), {})[file] = entry
        found = [
            Stored(
                model=name,
                version=version,
                written_at=files[CHECKSUMS].written_at,
                size_bytes=sum(entry.size_bytes for entry in files.values()),
                signed=SIGNATURE in files,
            )
            for (name, version), files in folders.items()
            if is_model_name(name) and is_version_name(version) and CHECKSUMS in files
        ]
        return tuple(sorted(found, key=lambda each: (each.model, version_number(each.version))))

    def holds(self, model: str, version: str) -> bool:
        """Tell whether `version` of `model` is published."""
        return self._store.holds(f"{_path(model, version)}/{CHECKSUMS}")

    def read(self, model: str, version: str, name: str) -> bytes:
        """Return one file of a version, after a look at its checksum.

        The signature and the checksums themselves have none.

        Raises
        ------
        RepositoryError
            If there is no such version.
        ArtifactError
            If it has no such file, or the file is not what was published.
        """
        found = self.read_each(model, [version], name)[version]
        if isinstance(found, AbserveError):
            raise found
        return found

    def read_each(
        self, model: str, versions: Sequence[str], name: str
    ) -> dict[str, bytes | AbserveError]:
        """Return one file of several versions, asked for at once, or why it cannot be had.

        What `read` would raise takes the place of the content.
        """
        folders = {version: _path(model, version) for version in versions}
        paths = [f"{each}/{file}" for each in folders.values() for file in (CHECKSUMS, name)]
        found = self._store.read_each(list(dict.fromkeys(paths)))
        return {
            version: self._checked(model, version, name, found)
            for version, folder in folders.items()
        }

    def download(self, model: str, version: str, folder: Path) -> None:
        """Copy a version, and check that it arrived as it was published.

        Parameters
        ----------
        model, version : str
            Which version.
        folder : Path
            Made if need be; expected to be empty.

        Raises
        ------
        RepositoryError
            If there is no such version, or the folder cannot be written.
        ArtifactError
            If what arrived is not what was published.
        """
        source = _path(model, version)
        names = self._store.under(source)
        if CHECKSUMS not in names:
            raise self._missing(model, version)
        for name in names:
            if ".." in PurePosixPath(name).parts:
                raise ArtifactError(
                    f"{self.url}/{source} holds {name!r}, which leads out of the version; "
                    "find out who put it there"
                )
        contents = self._store.read_each([f"{source}/{name}" for name in names])
        try:
            for path, content in contents.items():
                target = folder / path.removeprefix(f"{source}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        except OSError as error:
            raise RepositoryError(
                f"{model} {version} cannot be copied to {folder}: {error}; name a folder that can "
                "be written, on a disk with room"
            ) from error
        verify(folder)

    def publish(self, model: str, version: str, files: Mapping[str, bytes]) -> str:
        """Write a version's files, and make it a version with the last one.

        Parameters
        ----------
        model, version : str
            Names that `abserve.names` allows.
        files : mapping of str to bytes
            File name to content, as `abserve.artifacts.seal` returns them: checksums last.

        Returns
        -------
        str
            The URL of the version's folder.

        Raises
        ------
        VersionExistsError
            If the version is published already, or somebody else is publishing it. Nothing is
            changed.
        RepositoryError
            If the names are not allowed or the repository cannot be written.
        """
        _check_sealed(files)
        if self.holds(model, version):
            raise self._exists(model, version)
        with self._claiming(model, version) as claim:
            if claim is None:
                raise self._being_written(model, version)
            return self._write(claim, model, version, files)

    def publish_next(
        self, model: str, files_of: Callable[[str], Mapping[str, bytes]]
    ) -> tuple[str, str]:
        """Publish a version under the next number that is free.

        Parameters
        ----------
        model : str
            A name that `abserve.names` allows.
        files_of : callable
            Called with a version that nobody else can publish meanwhile; returns its files, as
            `publish` takes them. It has half an hour.

        Returns
        -------
        version, url : str
            What was published, and the URL of its folder.
        """
        published = self.versions(model)
        number = version_number(published[-1]) if published else 0
        while True:
            number += 1
            version = f"v{number}"
            with self._claiming(model, version) as claim:
                # Published since the versions were listed, or being published.
                if claim is None or self.holds(model, version):
                    continue
                files = files_of(version)
                _check_sealed(files)
                return version, self._write(claim, model, version, files)

    def delete(self, model: str, version: str) -> None:
        """Remove a version, and what is left of one that was removed or published by half.

        Raises
        ------
        RepositoryError
            If there is no such version, or somebody else is publishing or deleting it.
        """
        path = _path(model, version)
        if not self._store.under(path):
            raise self._missing(model, version)
        with self._claiming(model, version) as claim:
            if claim is None:
                raise self._being_written(model, version)
            claim.confirm()
            self._store.take_away(path, CHECKSUMS, claim.aside)

    def _write(self, claim: Claim, model: str, version: str, files: Mapping[str, bytes]) -> str:
        def confirm() -> None:
            claim.confirm()
            if self.holds(model, version):
                raise self._exists(model, version)

        path = _path(model, version)
        self._store.place(path, files, claim.aside, confirm)
        return f"{self.url}/{path}"

    @contextmanager
    def _claiming(self, model: str, version: str) -> Iterator[Claim | None]:
        """Claim a version for as long as it takes; None if it is somebody else's."""
        claim = Claim(self._store, model, version)
        try:
            yield claim if claim.take() else None
        finally:
            claim.withdraw()

    def _checked(
        self, model: str, version: str, name: str, found: Mapping[str, bytes]
    ) -> bytes | AbserveError:
        folder = f"{model}/{version}"
        sealed, content = found.get(f"{folder}/{CHECKSUMS}"), found.get(f"{folder}/{name}")
        if sealed is None:
            return self._missing(model, version)
        if content is None:
            return ArtifactError(
                f"{self.url}/{folder} holds no {name}; expected a file of the version"
            )
        if name in (CHECKSUMS, SIGNATURE):
            return content
        try:
            expected = parse_checksums(sealed, f"{self.url}/{folder}/{CHECKSUMS}").get(name)
        except ArtifactError as error:
            return error
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            return ArtifactError(
                f"{self.url}/{folder}/{name} has SHA-256 {actual}, published was "
                f"{expected or 'no such file'}; it was changed: publish the version anew under "
                "the next number, and find out who did it"
            )
        return content

    def _missing(self, model: str, version: str) -> RepositoryError:
        published = self.versions(model)
        return RepositoryError(
            f"{self.url} holds no {model} {version}; of {model} there: "
            f"{', '.join(published) or 'no version'}"
        )

    def _exists(self, model: str, version: str) -> VersionExistsError:
        return VersionExistsError(
            f"{model} {version} is already in {self.url}, and versions are immutable; "
            f"publish the next one, {self._following(model)}"
        )

    def _being_written(self, model: str, version: str) -> VersionExistsError:
        return VersionExistsError(
            f"{model} {version} is being published to or deleted from {self.url} by somebody else; "
            "publish another one, or try again: whoever died over it is forgotten after an hour"
        )

    def _following(self, model: str) -> str:
        published = self.versions(model)
        return f"v{version_number(published[-1]) + 1 if published else 1}"


def _open(url: str) -> Store:
    if "://" not in url:
        raise RepositoryError(
            f"{url!r} is no repository; expected a URL such as file:///srv/models or "
            "s3://bucket/models"
        )
    try:
        filesystem, root = fsspec.core.url_to_fs(url, **options_for(url))
    except (ValueError, ImportError) as error:
        raise RepositoryError(f"repository {url!r} cannot be opened: {error}") from error
    protocols = filesystem.protocol
    if "file" in ((protocols,) if isinstance(protocols, str) else protocols):
        return Disk(url, Path(root))
    return ObjectStore(url, filesystem, str(root).rstrip("/"))


def _path(model: str, version: str) -> str:
    check_model_name(model, RepositoryError)
    check_version_name(version, RepositoryError)
    return f"{model}/{version}"


def _check_sealed(files: Mapping[str, bytes]) -> None:
    if list(files)[-1:] != [CHECKSUMS]:
        raise RepositoryError(f"a version's files end with {CHECKSUMS}; seal them first")
