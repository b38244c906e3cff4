"""Answers of the API that are no object: success and refusal, as Kubernetes words them."""

from collections.abc import Sequence
from typing import Any

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    503: "ServiceUnavailable",
}


class ApiError(Exception):
    """A request the API refuses; carried to the client as a Status object.

    Parameters
    ----------
    code : int
        HTTP status, 400 to 599.
    message : str
        What was found, what was expected, what to do.
    reason : str, optional
        Kubernetes' word for it; by default the one that belongs to `code`.
    details : dict, optional
        Name, kind and causes of the refusal.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason or _REASONS.get(code, "InternalError"),
            "details": details or {},
            "code": code,
        }


def not_found(resource: str, group: str, name: str) -> ApiError:
    qualified = f"{resource}.{group}" if group else resource
    return ApiError(
        404,
        f'{qualified} "{name}" not found',
        details={"name": name, "group": group, "kind": resource},
    )


def invalid(kind: str, group: str, name: str, causes: Sequence[dict[str, str]]) -> ApiError:
    """Return the refusal of an object, one cause per fault; kubectl prints each on a line."""
    qualified = f"{kind}.{group}" if group else kind
    faults = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
    return ApiError(
        422,
        f'{qualified} "{name}" is invalid: {faults}',
        details={"name": name, "group": group, "kind": kind, "causes": list(causes)},
    )


def conflict(resource: str, group: str, name: str, why: str) -> ApiError:
    """Return the refusal of a change to something else than what its sender has seen."""
    qualified = f"{resource}.{group}" if group else resource
    return ApiError(
        409,
        f'Operation cannot be fulfilled on {qualified} "{name}": {why}',
        details={"name": name, "group": group, "kind": resource},
    )


def deleted(resource: str, group: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "group": group, "kind": resource, "uid": uid},
    }
