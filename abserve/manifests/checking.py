"""All rules over a tree of kustomizations, before anything of it is applied.

::

    folders ──applied──> kustomizations ──kubectl──> documents ──environment──> what a cluster gets
                               │                         │                           │
                             drift               schema, admission,        references, selectors,
                                              images, secrets, versions         duplicates
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from abserve.manifests.deployments import admission_faults, is_seldon_deployment, parsed
from abserve.manifests.documents import (
    Document,
    group_of,
    kind_of,
    name_of,
    namespace_of,
    subject_of,
)
from abserve.manifests.drift import drift_faults, patch_faults, patches_of
from abserve.manifests.environments import (
    LOCAL,
    OVERLAYS,
    by_environment,
    flux_path_fault,
    own_sources,
)
from abserve.manifests.findings import Finding, Severity, merged
from abserve.manifests.given import Given
from abserve.manifests.images import image_faults
from abserve.manifests.kustomizations import Kustomization, applied, below, unused_files
from abserve.manifests.objects import object_faults, secret_faults
from abserve.manifests.placeholders import placeholder_faults
from abserve.manifests.references import reference_faults
from abserve.manifests.rendering import Rendered, kubectl, render
from abserve.manifests.schemas import Schemas, is_built_in
from abserve.manifests.selectors import selector_faults
from abserve.manifests.versions import Versions

_RENDERERS = 2


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what was found: errors first."""

    n_kustomizations: int
    n_documents: int
    findings: tuple[Finding, ...]

    @property
    def n_errors(self) -> int:
        return sum(each.severity is Severity.ERROR for each in self.findings)


@dataclass(frozen=True, slots=True)
class Rules:
    """What documents are held against, beside the rules that always hold.

    Without `versions` nobody asks the model repository; `published` asks that images are.
    """

    schemas: Schemas
    versions: Versions | None = None
    published: bool = False


def check(folders: Sequence[Path], rules: Rules, *, tree: Path | None = None) -> Checked:
    """Render what would be applied of some folders, and hold it against every rule.

    Parameters
    ----------
    folders : sequence of Path
        Kustomizations, or folders with some: of those, what no other includes.
    rules : Rules
        What to hold it against.
    tree : Path, optional
        Where what they refer to may be as well. Flux's paths start from the folder that holds it.

    Raises
    ------
    ManifestError
        If a folder holds no kustomization, or kubectl is missing.
    RepositoryError
        If the model repository cannot be read.
    """
    roots = [*folders, *([tree] if tree is not None and below(tree) else [])]
    chosen = {each.folder for folder in folders for each in applied(folder)}
    top = chosen | {each.folder for folder in roots for each in applied(folder)}
    everything = {each.folder: each for folder in roots for each in below(folder)}
    rendered = _rendered(_with_bases(everything.values()))
    repository = (tree or folders[0]).resolve().parent
    environments = by_environment(rendered, tuple(sorted(top)), repository)
    inside = tuple(each.resolve() for each in folders)
    looked_at = {
        folder
        for given in environments.values()
        for folder in given
        if any(folder.is_relative_to(each) for each in inside)
    }
    found = [
        finding
        for name, given in environments.items()
        for finding in _of_environment(
            name, [rendered[each] for each in sorted(given)], looked_at, rendered, rules, repository
        )
    ]
    unused = unused_files(everything.values(), folders)
    found += [_unused(file) for file in unused]
    shown = [rendered[each] for each in sorted(looked_at)]
    found += _not_checked(shown, rules)
    return Checked(
        n_kustomizations=len(shown),
        n_documents=sum(len(each.documents) for each in shown),
        findings=merged(found),
    )


def _with_bases(kustomizations: Iterable[Kustomization]) -> dict[Path, Kustomization]:
    found: dict[Path, Kustomization] = {}
    for each in kustomizations:
        if not each.is_component:
            found[each.folder] = each
            found |= {base.folder: base for base in each.bases}
    return found


def _rendered(kustomizations: Mapping[Path, Kustomization]) -> dict[Path, Rendered]:
    with ThreadPoolExecutor(_RENDERERS) as pool:
        done = pool.map(partial(render, program=kubectl()), kustomizations.values())
        return dict(zip(kustomizations, done, strict=True))


def _of_environment(
    environment: str | None,
    inside: Sequence[Rendered],
    looked_at: set[Path],
    everything: Mapping[Path, Rendered],
    rules: Rules,
    repository: Path,
) -> Iterator[Finding]:
    """Yield what is wrong in one environment, of the kustomizations that are looked at."""
    # What has no environment goes into any, and may refer to what any has.
    together = everything.values() if environment is None else inside
    objects = [each for rendered in together for each in rendered.documents if _is_object(each)]
    given = Given(objects, local=environment in {LOCAL, None})
    sources = own_sources(everything, repository)
    broken = [each.kustomization.file for each in inside if each.fault is not None]
    for rendered in inside:
        if rendered.kustomization.folder not in looked_at:
            continue
        where = _Place(rendered.kustomization)
        if rendered.fault is not None:
            yield where.finding("", "render", rendered.fault)
        yield from _drift(rendered, everything, where)
        for document in rendered.documents:
            yield from _of_document(document, where, environment, rules)
            if broken or not _is_object(document):
                continue
            found = partial(where.finding, subject_of(document), document=document)
            paths = flux_path_fault(document, repository, sources)
            for fault in chain(reference_faults(document, given), paths):
                yield found("reference", fault)
            for fault, severity in selector_faults(document, given):
                yield found("selector", fault, severity)
    if broken:
        yield _incomplete(environment, broken)
    if environment is not None:
        yield from _duplicates(inside, looked_at)


def _is_object(document: Document) -> bool:
    return next(object_faults(document), None) is None


class _Place:
    """Says in which file of a kustomization an object is to be mended."""

    def __init__(self, kustomization: Kustomization) -> None:
        self._file = kustomization.file
        self._sources = kustomization.sources()

    def finding(
        self,
        subject: str,
        rule: str,
        message: str,
        severity: Severity = Severity.ERROR,
        *,
        document: Document | None = None,
        file: Path | None = None,
    ) -> Finding:
        source = None
        if document is not None:
            source = self._sources.get((kind_of(document), name_of(document)))
        return Finding(
            shown_path(file or source or self._file),
            subject,
            rule,
            message,
            severity,
            (shown_path(self._file.parent),),
        )


def _of_document(
    document: Document, where: _Place, environment: str | None, rules: Rules
) -> Iterator[Finding]:
    """Yield what is wrong with a document by itself."""
    faults = list(object_faults(document))
    if faults:
        yield from (where.finding("", "object", each) for each in faults)
        return
    found = partial(where.finding, subject_of(document), document=document)
    for fault in rules.schemas.faults(document):
        yield found("schema", fault)
    for fault in secret_faults(document, environment):
        yield found("secret", fault)
    for rule, fault, severity in _unready(document, environment, published=rules.published):
        yield found(rule, fault, severity)
    if not is_seldon_deployment(document):
        return
    for rule, fault in admission_faults(document, local=environment == LOCAL):
        yield found(rule, fault)
    for fault in rules.schemas.seldon_pod_faults(document):
        yield found("schema", fault)
    deployment = parsed(document)
    if rules.versions is not None and deployment is not None:
        for fault in rules.versions.faults(deployment):
            yield found("version", fault)


def _unready(
    document: Document, environment: str | None, *, published: bool
) -> Iterator[tuple[str, str, Severity]]:
    """Yield what an environment cannot run with: the rule, what is wrong, and how bad that is."""
    for fault, severity in image_faults(document, environment, published=published):
        yield "image", fault, severity
    for fault, severity in placeholder_faults(document, environment, published=published):
        yield "placeholder", fault, severity


def _drift(
    overlay: Rendered, rendered: Mapping[Path, Rendered], where: _Place
) -> Iterator[Finding]:
    kustomization = overlay.kustomization
    for layer in kustomization.layers():
        for patch in patches_of(layer):
            for fault in patch_faults(patch):
                yield where.finding("", "drift", fault, file=patch.file)
    if OVERLAYS not in kustomization.folder.parts:
        return
    base = [
        document for each in kustomization.bases for document in rendered[each.folder].documents
    ]
    for document, fault in drift_faults(kustomization, overlay.documents, base):
        yield where.finding(subject_of(document), "drift", fault)


def _duplicates(inside: Sequence[Rendered], looked_at: set[Path]) -> Iterator[Finding]:
    """Yield the objects that two kustomizations of one environment apply."""
    first: dict[tuple[str, str, str | None, str], Rendered] = {}
    for rendered in inside:
        for document in filter(_is_object, rendered.documents):
            key = (
                group_of(document), kind_of(document), namespace_of(document), name_of(document)
            )  # fmt: skip
            other = first.setdefault(key, rendered)
            if other is rendered or rendered.kustomization.folder not in looked_at:
                continue
            file = shown_path(other.kustomization.file)
            message = f"{file} applies it as well; keep one, or they undo each other's changes"
            yield _Place(rendered.kustomization).finding(
                subject_of(document), "duplicate", message, document=document
            )


def _incomplete(environment: str | None, broken: Sequence[Path]) -> Finding:
    # What did not render would be missed by all that refers to it.
    where = f" in {environment}" if environment else ""
    files = ", ".join(map(shown_path, broken))
    message = f"references and selectors{where} were not looked at: {files} does not render"
    return Finding("", "", "reference", message, Severity.NOTE)


def _unused(file: Path) -> Finding:
    message = "is in no kustomization, so nobody applies it; include it, or delete it"
    return Finding(shown_path(file), "", "unused", message)


def _not_checked(looked_at: Iterable[Rendered], rules: Rules) -> Iterator[Finding]:
    """Yield what no rule could look at, so that nobody takes silence for an answer."""
    documents = [document for each in looked_at for document in each.documents]
    objects = [each for each in documents if _is_object(each)]
    kinds = {
        f"{each['apiVersion']} {kind_of(each)}"
        for each in objects
        if not rules.schemas.knows(each)
        and not is_built_in(each)
        and not is_seldon_deployment(each)
    }
    if kinds:
        message = f"no schema of {', '.join(sorted(kinds))}: hand over their definitions, --crds"
        yield Finding("", "", "schema", message, Severity.NOTE)
    if not any(is_seldon_deployment(each) for each in objects):
        return
    if rules.versions is None:
        message = "versions were not looked for: name the model repository, --repository"
        yield Finding("", "", "version", message, Severity.NOTE)
    elif not rules.versions.signatures:
        message = "signatures were not checked: name the public key, --public-key"
        yield Finding("", "", "version", message, Severity.NOTE)


def shown_path(path: Path) -> str:
    """Return a path as a reader would type it: from the current folder, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
