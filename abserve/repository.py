"""The model repository: where versions live, outside of every machine that trains or serves.

``<url>/<model>/<version>/`` on a disk (``file://``) or an object store (``s3://``, ``gs://``).
A version comes into being in one step: on a disk the finished folder is renamed into place, on an
object store, which has no rename, the checksums are written last and a folder without them is no
version. A training that dies half-way therefore leaves nothing that anyone would serve.
"""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from abserve.artifacts import CHECKSUMS
from abserve.errors import RepositoryError, VersionExistsError
from abserve.names import check_model_name, check_version_name, is_version_name, version_number


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
        If the URL names no store that is installed.
    """

    def __init__(self, url: str) -> None:
        if "://" not in url:
            raise RepositoryError(
                f"{url!r} is no repository; expected a URL such as file:///srv/models or "
                "s3://bucket/models"
            )
        self.url = url.rstrip("/")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise RepositoryError(f"repository {url!r} cannot be opened: {error}") from error
        self._root = str(self._root).rstrip("/")

    @property
    def folder(self) -> Path | None:
        """The repository's folder if it lies on this machine's disk, else None."""
        return Path(self._root) if "file" in _protocols(self._fs) else None

    def versions(self, model: str) -> tuple[str, ...]:
        """Return the published versions of `model`, oldest first; none if there is no such model.

        Raises
        ------
        RepositoryError
            If the repository cannot be read.
        """
        check_model_name(model, RepositoryError)
        try:
            self._fs.invalidate_cache()
            names = [
                str(path).rsplit("/", 1)[-1]
                for path in self._fs.ls(f"{self._root}/{model}", detail=False)
            ]
            found = [name for name in names if is_version_name(name) and self.holds(model, name)]
        except FileNotFoundError:
            return ()
        except RepositoryError:
            raise
        except Exception as error:  # each store raises its own
            raise self._failure("read", error) from error
        return tuple(sorted(found, key=version_number))

    def holds(self, model: str, version: str) -> bool:
        """Tell whether `version` of `model` is published.

        Raises
        ------
        RepositoryError
            If the repository cannot be read.
        """
        try:
            return bool(self._fs.exists(f"{self._root}/{model}/{version}/{CHECKSUMS}"))
        except Exception as error:  # each store raises its own
            raise self._failure("read", error) from error

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
            If the version is published already. Nothing is changed.
        RepositoryError
            If the names are not allowed or the repository cannot be written.
        """
        check_model_name(model, RepositoryError)
        check_version_name(version, RepositoryError)
        if list(files)[-1:] != [CHECKSUMS]:
            raise RepositoryError(f"a version's files end with {CHECKSUMS}; seal them first")
        try:
            if self.holds(model, version):
                raise self._exists(model, version)
            if self.folder is not None:
                self._publish_on_disk(self.folder / model, version, files)
            else:
                self._publish_on_store(f"{self._root}/{model}/{version}", files)
        except RepositoryError:
            raise
        except Exception as error:  # each store raises its own
            raise self._failure("written", error) from error
        return f"{self.url}/{model}/{version}"

    def _publish_on_disk(self, parent: Path, version: str, files: Mapping[str, bytes]) -> None:
        staging = parent / f".staging-{version}-{secrets.token_hex(4)}"
        staging.mkdir(parents=True)
        try:
            for name, content in files.items():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            # Fails if a second training published the same version meanwhile: a folder that
            # is not empty is never replaced.
            try:
                staging.rename(parent / version)
            except OSError as error:
                if (parent / version / CHECKSUMS).exists():
                    raise self._exists(parent.name, version) from error
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _publish_on_store(self, path: str, files: Mapping[str, bytes]) -> None:
        # What an interrupted publish left behind would not be in our checksums.
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)
        for name, content in files.items():
            self._fs.pipe_file(f"{path}/{name}", content)

    def _exists(self, model: str, version: str) -> VersionExistsError:
        published = self.versions(model)
        following = version_number(published[-1]) + 1 if published else 1
        return VersionExistsError(
            f"{model} {version} is already in {self.url}, and versions are immutable; "
            f"publish the next one, v{following}"
        )

    def _failure(self, what: str, error: Exception) -> RepositoryError:
        return RepositoryError(
            f"repository {self.url} cannot be {what}: {type(error).__name__}: {error}; "
            "check the URL, the credentials and the rights"
        )


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
