"""Write what is in an image as a CycloneDX 1.6 bill of materials: ``sbom.py TARGET``.

The lock already says it all: each package with its version, the checksums that the build demands,
and what wants it. So the bill needs no image, no network and no tool, and is the same for the same
lock. Debian's packages come with the base image, which is named by its digest; BuildKit's own bill,
attached to a published image, has them one by one.

    .venv/bin/python scripts/sbom.py serving --version 0.1.0 --output sbom.json
"""

import argparse
import json
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"serving": "runtimes", "rollout": "rollout", "training": "training"}
_REGISTRY = "ghcr.io/abserve"
# Where the image runs. Both architectures have the same packages.
_ENVIRONMENT = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "sys_platform": "linux",
}
_ENTRY = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^\s;]+)(?: ; (?P<marker>[^\\\n]+?))? \\\n"
    r"(?P<rest>(?:[ ]{4}.*\n?)+)",
    re.MULTILINE,
)
_BASE = re.compile(r"^FROM (?P<name>[\w./-]+):(?P<tag>[\w.-]+)@(?P<digest>sha256:[0-9a-f]{64}) AS")


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a lock; `ours` if we ask for it, whatever packages want it besides."""

    name: str
    version: str
    checksums: tuple[str, ...]
    wanted_by: tuple[str, ...]
    ours: bool

    @property
    def reference(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version.replace('+', '%2B')}"


@dataclass(frozen=True, slots=True)
class Base:
    """The base image: Debian and Python."""

    name: str
    tag: str
    digest: str

    @property
    def python(self) -> str:
        return self.tag.split("-")[0]

    @property
    def reference(self) -> str:
        digest = self.digest.replace(":", "%3A")
        return (
            f"pkg:oci/{self.name}@{digest}?repository_url=docker.io/library/{self.name}"
            f"&tag={self.tag}"
        )


def read_base(dockerfile: str) -> Base:
    """Return the image that the Dockerfile builds on.

    Raises
    ------
    ValueError
        If its first stage does not name one by tag and digest.
    """
    first = next((line for line in dockerfile.splitlines() if line.startswith("FROM ")), "")
    found = _BASE.match(first)
    if found is None:
        raise ValueError(
            f"the Dockerfile begins with {first!r}; expected FROM NAME:TAG@sha256:DIGEST AS STAGE"
        )
    return Base(**found.groupdict())


def read_lock(lock: str, python: str) -> Iterator[Package]:
    """Yield the packages that are installed on Linux for a version of Python, as ``3.11.15``."""
    environment = _ENVIRONMENT | {
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
    }
    for entry in _ENTRY.finditer(lock):
        if entry["marker"] and not Marker(entry["marker"]).evaluate(environment):
            continue
        rest = entry["rest"]
        yield Package(
            entry["name"],
            entry["version"],
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", rest)),
            tuple(re.findall(r"^    #(?: via |   )([a-z0-9][a-z0-9.-]*)$", rest, re.MULTILINE)),
            "pyproject.toml" in rest,
        )


def bill(target: str, version: str, lock: str, dockerfile: str) -> dict[str, Any]:
    """Return the bill of materials of one target of the Dockerfile."""
    base = read_base(dockerfile)
    packages = {package.name: package for package in read_lock(lock, base.python)}
    image = f"{_REGISTRY}/{TARGETS[target]}"
    wants: dict[str, list[str]] = {image: [base.reference]}
    for package in packages.values():
        wants.setdefault(package.reference, [])
        wanting = [packages[name].reference for name in package.wanted_by if name in packages]
        for each in [*wanting, *([image] if package.ours else [])]:
            wants.setdefault(each, []).append(package.reference)
    content = {
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": image,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [_base_component(base), *map(_component, packages.values())],
        "dependencies": [
            {"ref": reference, "dependsOn": sorted(wanted)}
            for reference, wanted in sorted(wants.items())
        ],
    }
    # The same number for the same content, so that two builds can be compared byte by byte.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        **content,
    }


def _base_component(base: Base) -> dict[str, Any]:
    return {
        "type": "container",
        "bom-ref": base.reference,
        "name": base.name,
        "version": base.tag,
        "hashes": [{"alg": "SHA-256", "content": base.digest.removeprefix("sha256:")}],
        "purl": base.reference,
    }


def _component(package: Package) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": package.reference,
        "name": package.name,
        "version": package.version,
        "purl": package.reference,
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{package.name}/{package.version}/",
                "comment": "The build installs one of the files with these checksums.",
                "hashes": [{"alg": "SHA-256", "content": each} for each in package.checksums],
            }
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the bill of materials of an image.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--version", default="unknown", help="of the image")
    parser.add_argument("--output", type=Path, help="a file; by default it is printed")
    arguments = parser.parse_args()
    lock = (ROOT / f"requirements-{arguments.target}.lock").read_text()
    found = bill(arguments.target, arguments.version, lock, (ROOT / "Dockerfile").read_text())
    text = json.dumps(found, indent=2) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
