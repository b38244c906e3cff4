"""Write the digests of published images into an environment: ``pin_images.py staging DIGESTS``.

DIGESTS is a folder with one file for each image, ``runtimes`` for instance, that holds its digest.
Every image of ours that ``manifests/overlays/<environment>/environment`` names gets its own, and
nothing else in that file changes; what is applied to the cluster is then a commit like any other.
"""

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_IMAGE = re.compile(
    r"(?P<head>- name: abserve/(?P<name>[a-z]+)\n\s+newName: \S+\n\s+digest: )(?P<digest>\S+)"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_digests(folder: Path) -> dict[str, str]:
    """Return the digest of each image, by the name of its file.

    Raises
    ------
    ValueError
        If a file holds anything else.
    """
    found = {path.name: path.read_text().strip() for path in sorted(folder.iterdir())}
    for name, digest in found.items():
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{folder / name} holds {digest!r}; expected sha256: and 64 digits")
    return found


def pinned(kustomization: str, digests: dict[str, str]) -> str:
    """Return the kustomization with the digest of each image of ours.

    Raises
    ------
    ValueError
        If it names none, or one that has no digest.
    """
    named = [image["name"] for image in _IMAGE.finditer(kustomization)]
    missing = sorted(set(named) - set(digests))
    if not named or missing or kustomization.count("name: abserve/") != len(named):
        raise ValueError(
            f"the environment names the images {named}, and digests are known of "
            f"{sorted(digests)}; expected `- name: abserve/NAME`, `newName` and `digest` in this "
            "order, and a digest for each"
        )
    return _IMAGE.sub(lambda image: image["head"] + digests[image["name"]], kustomization)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write digests of images into an environment.")
    parser.add_argument("environment", choices=["staging", "production"])
    parser.add_argument("digests", type=Path)
    arguments = parser.parse_args()
    folder = ROOT / "manifests" / "overlays" / arguments.environment / "environment"
    file = folder / "kustomization.yaml"
    file.write_text(pinned(file.read_text(), read_digests(arguments.digests)))


if __name__ == "__main__":
    main()
