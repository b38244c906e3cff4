"""What a model and a version may be called.

A model's name becomes a folder, a path of the V2 protocol and a Prometheus label, a version's
name a folder and a label. Both are therefore plain: no dots, no slashes, nothing to escape.

On Kubernetes the container that serves a model bears the model's name, which is then that of a
volume, of a Service and of a label too. So a model that is to be trained is named as containers
are; a repository may hold older ones.
"""

import re

from abserve.errors import AbserveError

_MODEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
# The volume with the version is called `<container>-provision-location` (manifests/base/cluster):
# 19 characters of the 63 that a name in a pod may have.
_SERVED_MODEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,42}[a-z0-9])?")
_VERSION = re.compile(r"v[1-9][0-9]{0,8}")


def is_model_name(name: str) -> bool:
    return _MODEL.fullmatch(name) is not None


def check_model_name(name: str, error: type[AbserveError]) -> str:
    """Return `name`, or raise `error` if no model may be called so."""
    if not is_model_name(name):
        raise error(
            f"{name!r} is no model name; expected at most 63 lower-case letters, digits, "
            "'-' and '_', beginning and ending with a letter or digit"
        )
    return name


def check_served_model_name(name: str, error: type[AbserveError]) -> str:
    """Return `name`, or raise `error` if no model to be served may be called so."""
    check_model_name(name, error)
    if _SERVED_MODEL.fullmatch(name) is None:
        raise error(
            f"{name!r} is no name for a model that is to be served; expected at most 44 lower-case "
            "letters, digits and '-', because its container on Kubernetes bears it: rename it, "
            f"for example to {name.replace('_', '-')[:44].strip('-')!r}"
        )
    return name


def is_version_name(name: str) -> bool:
    return _VERSION.fullmatch(name) is not None


def check_version_name(name: str, error: type[AbserveError]) -> str:
    """Return `name`, or raise `error` if no version may be called so."""
    if not is_version_name(name):
        raise error(f"{name!r} is no version; expected v1, v2, v3 and so on")
    return name


def version_number(name: str) -> int:
    """Return the number in a version's name, by which versions are ordered."""
    return int(name.removeprefix("v"))
