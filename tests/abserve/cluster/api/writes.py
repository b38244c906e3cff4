"""Writes as clients send them, and what they leave in an object."""

from typing import Any

from tests.abserve.cluster.asgi import Answer, Client
from tests.abserve.cluster.documents import config_map

SELDON_ROOT = "/apis/machinelearning.seldon.io/v1"
SDEPS = f"{SELDON_ROOT}/namespaces/default/seldondeployments"
IRIS = f"{SDEPS}/iris"
MAPS = "/api/v1/namespaces/default/configmaps"
COLOURS = f"{MAPS}/colours"
SECRETS = "/api/v1/namespaces/default/secrets"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"


async def apply(
    client: Client, path: str, body: Any, manager: str = "anna", **query: str
) -> Answer:
    return await client.patch(path, body, APPLY, fieldManager=manager, **query)


def colours(**data: str) -> dict[str, Any]:
    return {**config_map("colours"), "data": data}


def owned(document: dict[str, Any]) -> dict[str, Any]:
    """Return what each manager owns: who applies is told from who updates, and so is a part."""
    return {
        " ".join(
            part
            for part in (
                each["manager"],
                "applies" if each["operation"] == "Apply" else "",
                each.get("subresource", ""),
            )
            if part
        ): each["fieldsV1"]
        for each in document["metadata"].get("managedFields", [])
    }
