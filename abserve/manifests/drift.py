"""Whether an overlay is its base and a declared difference, and fails when the base moves.

An overlay may differ from its base at the paths that its patches name, and in images, namespace
and labels, which kustomize has fields for. A JSON patch counts positions, so it has to `test` whose
position it changes: when the base moves, kubectl refuses to render it, and nothing is applied to
the wrong predictor. A merge patch has no such test, and for a custom resource it replaces a list as
a whole.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from abserve.manifests.documents import (
    Document,
    entries,
    kind_of,
    listed,
    mapping,
    name_of,
    yaml_documents,
)
from abserve.manifests.kustomizations import Kustomization, documents_in
from abserve.seldon import KIND

_TRANSFORMERS = ("PatchTransformer", "PatchJson6902Transformer", "PatchStrategicMergeTransformer")
_CHANGES = ("replace", "remove", "add", "move", "copy")
_ALL_PREDICTORS = ("", "/spec", "/spec/predictors")
_POSITION = re.compile(r"/(\d+)(?=/|$)")
# What kustomize's own fields change, in any object: images, namespace, labels, annotations.
_BY_FIELDS = re.compile(
    r"/metadata/(namespace|labels|annotations)(/.*)?|.*/(labels|annotations)/[^/]+|.*/image"
)


@dataclass(frozen=True, slots=True)
class Patch:
    """One patch of a kustomization; `file` is the kustomization where it is written in line."""

    file: Path
    target: Mapping[str, Any]
    body: Any


def drift_faults(
    overlay: Kustomization, rendered: Iterable[Document], base: Iterable[Document]
) -> Iterator[tuple[Document, str]]:
    """Yield where the SeldonDeployments of an overlay are not its base and the declared difference.

    Parameters
    ----------
    overlay : Kustomization
        Whose patches declare the difference.
    rendered, base : iterable of dict
        The objects of the overlay, and those of the kustomizations that it includes.

    Yields
    ------
    tuple of dict and str
        The object of the overlay, and what is wrong.
    """
    of_base = {name_of(each): each for each in base if kind_of(each) == KIND}
    patches = [patch for layer in overlay.layers() for patch in patches_of(layer)]
    for document in rendered:
        if kind_of(document) != KIND:
            continue
        original = of_base.get(name_of(document))
        if original is None:
            known = ", ".join(of_base) or "no SeldonDeployment"
            yield (
                document,
                f"is in no base that this overlay includes, which have {known}; move it to a base, "
                "so that environments differ only in what they declare",
            )
            continue
        dropped = _dropped(original, document)
        if dropped:
            yield (
                document,
                f"drops {', '.join(dropped)}, which the base has; the requests of a predictor that "
                "is gone are lost: give it weight 0, or remove it from the base",
            )
            continue
        paths = list(_undeclared(original, document, patches))
        if paths:
            yield (
                document,
                f"differs from its base at {', '.join(paths)}, and no patch names that; write a "
                "JSON patch that tests and replaces",
            )


def patches_of(kustomization: Kustomization) -> Iterator[Patch]:
    """Yield the patches that a kustomization itself holds, of whatever style."""
    content, folder = kustomization.content, kustomization.folder
    for entry in [*entries(content, "patches"), *entries(content, "patchesJson6902")]:
        yield from _patch(entry, folder, kustomization.file)
    for each in listed(content, "patchesStrategicMerge"):
        given = {"patch": each} if "\n" in str(each) else {"path": str(each)}
        yield from _patch(given, folder, kustomization.file)
    for file in kustomization.included:
        for document in documents_in(file) if file.is_file() else ():
            if kind_of(document) in _TRANSFORMERS:
                yield from _patch(document, folder, file)


def patch_faults(patch: Patch) -> Iterator[str]:
    """Yield why a patch would change something else once its base has moved."""
    if isinstance(patch.body, list):
        yield from _untested(patch.body)
        if _kind(patch) in {KIND, ""}:
            yield from _of_all_predictors(patch.body)
    elif _kind(patch) == KIND and "predictors" in mapping(patch.body, "spec"):
        yield (
            "merges into spec.predictors: of a custom resource a list is replaced as a whole, and "
            "the predictors that the patch does not name are gone; write a JSON patch that tests "
            "and replaces"
        )


def _dropped(base: Document, overlay: Document) -> list[str]:
    there = {each.get("name") for each in entries(overlay, "spec", "predictors")}
    return [
        str(each.get("name"))
        for each in entries(base, "spec", "predictors")
        if each.get("name") not in there
    ]


def _undeclared(base: Document, overlay: Document, patches: Sequence[Patch]) -> Iterator[str]:
    # What is added at a list's end stands at a position that nobody wrote.
    declared = [
        path.removesuffix("/-") for each in patches if _is_for(each, base) for path in _paths(each)
    ]
    for path in _differences(base, overlay):
        named = any(path == each or path.startswith(f"{each}/") for each in declared)
        if not named and not _BY_FIELDS.fullmatch(path):
            yield path


def _patch(entry: Mapping[str, Any], folder: Path, file: Path) -> Iterator[Patch]:
    text = entry.get("patch") or entry.get("jsonOp")
    if isinstance(entry.get("path"), str):
        file = folder / entry["path"]
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return  # kubectl says it better.
    try:
        bodies = yaml_documents(str(text))
    except yaml.YAMLError:
        return
    yield from (Patch(file, mapping(entry, "target"), each) for each in bodies)


def _untested(operations: list[Any]) -> Iterator[str]:
    tested: list[str] = []
    for each in operations:
        if not isinstance(each, Mapping):
            continue
        if each.get("op") == "test":
            tested.append(str(each.get("path")))
            continue
        if each.get("op") not in _CHANGES:
            continue
        for path in (str(each[key]) for key in ("path", "from") if key in each):
            position = _POSITION.search(path)
            element = path[: position.end()] if position else ""
            if position and not any(
                known == element or known.startswith(f"{element}/") for known in tested
            ):
                yield (
                    f"{each.get('op')} {path} counts on position {position[1]}, and nothing tests "
                    f"what stands there; put {{op: test, path: {element}/name, value: ...}} in "
                    "front of it"
                )


def _of_all_predictors(operations: list[Any]) -> Iterator[str]:
    for each in operations:
        path = str(mapping(each).get("path"))
        if mapping(each).get("op") in _CHANGES and path in _ALL_PREDICTORS:
            yield (
                f"{each.get('op')} {path or 'of the whole object'} leaves nothing of the base's "
                "predictors, whatever they become; change the fields that differ, and test before"
            )


def _kind(patch: Patch) -> str:
    named = patch.target.get("kind")
    return str(named) if named else kind_of(patch.body)


def _is_for(patch: Patch, document: Document) -> bool:
    if isinstance(patch.body, Mapping) and not patch.target:
        return (kind_of(patch.body), name_of(patch.body)) == (kind_of(document), name_of(document))
    kind, name = patch.target.get("kind"), patch.target.get("name")
    # kustomize takes both for regular expressions that match as a whole.
    return (not kind or re.fullmatch(str(kind), kind_of(document)) is not None) and (
        not name or re.fullmatch(str(name), name_of(document)) is not None
    )


def _paths(patch: Patch) -> Iterator[str]:
    if isinstance(patch.body, list):
        yield from (str(each.get("path")) for each in patch.body if isinstance(each, Mapping))
    else:
        yield from _leaves(patch.body, "")


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}/{_escaped(key)}")
    else:
        yield path


def _differences(first: Any, second: Any, path: str = "") -> Iterator[str]:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in [*first, *(each for each in second if each not in first)]:
            below = f"{path}/{_escaped(key)}"
            if key in first and key in second:
                yield from _differences(first[key], second[key], below)
            else:
                yield from _leaves(first.get(key, second.get(key)), below)
    elif isinstance(first, list) and isinstance(second, list):
        for index in range(max(len(first), len(second))):
            below = f"{path}/{index}"
            if index < min(len(first), len(second)):
                yield from _differences(first[index], second[index], below)
            else:
                yield below
    elif first != second:
        yield path


def _escaped(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
