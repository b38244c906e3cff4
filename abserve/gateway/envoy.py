"""Words of Envoy's v3 API that several parts of its configuration share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TYPES = "type.googleapis.com/envoy"


def typed(message: str, /, **fields: Any) -> dict[str, Any]:
    """Return a message that says its type: ``config.cluster.v3.Cluster``."""
    return {"@type": f"{_TYPES}.{message}", **fields}


def extension(name: str, message: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": message}


def watched(path: Path) -> dict[str, Any]:
    """Return the source of what stands in a file and follows its changes."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
