"""Folders that kustomize renders: which there are, what they include, and which are applied.

What no other kustomization of the tree includes is what somebody applies. A component is only
ever included.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from abserve.errors import ManifestError
from abserve.manifests.documents import (
    MOST_BYTES,
    ExcessError,
    kind_of,
    listed,
    name_of,
    yaml_documents,
)

FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_INCLUDED = ("resources", "bases", "components", "generators", "transformers", "validators")


@dataclass(frozen=True)
class Kustomization:
    """A folder with a kustomization file."""

    folder: Path

    @cached_property
    def file(self) -> Path:
        return next(self.folder / name for name in FILES if (self.folder / name).is_file())

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The file's fields; none where it cannot be read, which kubectl says better."""
        found = list(documents_in(self.file))
        return found[0] if found else {}

    @property
    def is_component(self) -> bool:
        return self.content.get("kind") == "Component"

    @cached_property
    def included(self) -> tuple[Path, ...]:
        """The files and folders that it includes and that are in this tree."""
        return self._named(*_INCLUDED)

    @property
    def bases(self) -> "tuple[Kustomization, ...]":
        """The kustomizations whose objects it changes."""
        found = (kustomization_in(each) for each in self._named("resources", "bases"))
        return tuple(each for each in found if each is not None)

    def layers(self) -> "tuple[Kustomization, ...]":
        """Return what changes the objects of its bases: itself, components and transformers."""
        return self._reached("components", "transformers")

    def _reached(self, *fields: str) -> "tuple[Kustomization, ...]":
        """Return itself and all kustomizations that it includes, each once, even in a circle."""
        found, waiting = {self.folder: self}, [self]
        while waiting:
            for path in waiting.pop()._named(*fields):
                below = kustomization_in(path)
                if below is not None and below.folder not in found:
                    found[below.folder] = below
                    waiting.append(below)
        return tuple(found.values())

    def _named(self, *fields: str) -> tuple[Path, ...]:
        named = [each for field in fields for each in listed(self.content, field)]
        paths = [_path(self.folder, each) for each in named]
        return tuple(each for each in paths if each is not None)

    def mentioned(self) -> "Iterator[Path]":
        """Yield the files and folders that it names, in whatever field."""
        for each in _strings(self.content):
            # A generator of ConfigMaps may say under which key: `rules.yaml=rules/slo.yaml`.
            path = _path(self.folder, each.rpartition("=")[2])
            if path is not None:
                yield path

    def sources(self) -> dict[tuple[str, str], Path]:
        """Return the file of each object, by kind and name, as the files name it."""
        return {
            (kind_of(document), name_of(document)): path
            for each in self._reached(*_INCLUDED)
            for path in each.included
            if path.is_file()
            for document in documents_in(path)
        }

    def excess(self) -> str | None:
        """Return which of its files kubectl would choke on, and why; None if it can render."""
        for each in self._reached(*_INCLUDED):
            for file in (each.file, *each.mentioned()):
                status = file.stat()
                reason = _excess(file, status.st_mtime_ns, status.st_size)
                if reason:
                    return f"{file}: {reason}"
        return None


@cache
def _excess(file: Path, _mtime_ns: int, n_bytes: int) -> str:
    if not file.is_file():
        return ""
    if n_bytes > MOST_BYTES:
        return f"has {n_bytes / 2**20:.0f} MiB, more than could be applied; take it out"
    try:
        # Most of what it names is YAML; what is not has no aliases.
        yaml_documents(file.read_text(encoding="utf-8"))
    except ExcessError as error:
        return str(error)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""  # kubectl says it better.
    return ""


def _path(folder: Path, value: object) -> Path | None:
    """Return the file or folder that a kustomization names; None if there is none."""
    try:
        path = (folder / value).resolve() if isinstance(value, str) else None
        return path if path is not None and path.exists() else None
    except (OSError, RuntimeError, ValueError):
        return None  # A name that can be none, or a circle of links; kubectl says it better.


def kustomization_in(folder: Path) -> Kustomization | None:
    """Return the kustomization of `folder` itself, or None."""
    is_one = folder.is_dir() and any((folder / name).is_file() for name in FILES)
    return Kustomization(folder.resolve()) if is_one else None


def below(folder: Path) -> tuple[Kustomization, ...]:
    """Return all kustomizations in `folder` and below it, by path."""
    folders = {file.parent for name in FILES for file in folder.rglob(name)}
    return tuple(Kustomization(each.resolve()) for each in sorted(folders))


def applied(folder: Path) -> tuple[Kustomization, ...]:
    """Return what is meant to be applied of `folder`: itself, or what nobody includes below it.

    Raises
    ------
    ManifestError
        If there is no such folder, or no kustomization in it.
    """
    if not folder.is_dir():
        raise ManifestError(
            f"{folder} is no folder; name one that holds a kustomization.yaml, or folders with one"
        )
    alone = kustomization_in(folder)
    if alone is not None:
        return (alone,)
    found = below(folder)
    included = {path for each in found for path in each.included}
    roots = tuple(each for each in found if each.folder not in included and not each.is_component)
    if not roots:
        circle = ": each is a component, or included by another" if found else ""
        raise ManifestError(
            f"{folder} holds no kustomization.yaml that could be applied{circle}; name a folder "
            "that does"
        )
    return roots


def documents_in(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the YAML documents of a file; none if it is no YAML, which kubectl says better."""
    try:
        small = file.stat().st_size <= MOST_BYTES
        found = yaml_documents(file.read_text(encoding="utf-8")) if small else []
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    yield from (each for each in found if isinstance(each, dict))


def unused_files(
    kustomizations: Iterable[Kustomization], folders: Iterable[Path]
) -> tuple[Path, ...]:
    """Return the files below `folders` that hold an object, and that no kustomization names."""
    named = {path for each in kustomizations for path in each.mentioned()}
    return tuple(
        file
        for folder in folders
        for file in sorted(folder.resolve().rglob("*.y*ml"))
        if file.name not in FILES and file not in named and _holds_an_object(file)
    )


def _holds_an_object(file: Path) -> bool:
    return any("apiVersion" in each and "kind" in each for each in documents_in(file))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if "\n" not in value:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
