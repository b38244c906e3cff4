"""How a client wants something written: in earnest or not, in whose name, how strictly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from starlette.requests import Request

from abserve.cluster.api.kinds import Kind
from abserve.cluster.api.managed_fields import Document, Manager
from abserve.cluster.api.status import ApiError, conflict, invalid

FieldValidation = Literal["Strict", "Warn", "Ignore"]
Operation = Literal["Apply", "Update"]
_Propagation = Literal["Orphan", "Background", "Foreground"]

_OPTIONS_GROUP = "meta.k8s.io"
_LONGEST_MANAGER = 128

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a client says of a write beside the object.

    `force` is only for an apply: it takes what others own.
    """

    manager: str
    dry_run: bool = False
    validation: FieldValidation = "Warn"
    force: bool = False

    @classmethod
    def of(cls, request: Request, *, apply: bool = False) -> "WriteOptions":
        """Read the options of a request.

        Raises
        ------
        ApiError
            422 if one is not what Kubernetes takes, 400 if `force` is no boolean.
        """
        query = request.query_params
        name = "PatchOptions" if request.method == "PATCH" else _OPTIONS_OF[request.method]
        force = query.get("force")
        manager = query.get("fieldManager", "")
        if apply and not manager:
            raise _refusal(
                name,
                "fieldManager",
                "FieldValueRequired",
                "Required value: is required for apply patch; say who applies, as kubectl does "
                "with --field-manager",
            )
        if not apply and force is not None and request.method == "PATCH":
            raise _refusal(
                name,
                "force",
                "FieldValueForbidden",
                "Forbidden: may not be specified for non-apply patch",
            )
        if len(manager) > _LONGEST_MANAGER or not manager.isprintable():
            raise _refusal(
                name,
                "fieldManager",
                "FieldValueInvalid",
                f"Invalid value: expected at most {_LONGEST_MANAGER} printable characters",
            )
        validation = query.get("fieldValidation") or "Warn"
        return cls(
            manager=manager or _first_part_of_user_agent(request),
            dry_run=_dry_run(name, query.getlist("dryRun")),
            validation=_one_of(name, "fieldValidation", validation, FieldValidation),
            force=apply and _boolean("force", force),
        )

    def manager_of(self, kind: Kind, operation: Operation, subresource: str = "") -> Manager:
        return Manager(operation, self.manager, kind.api_version, subresource)


_OPTIONS_OF = {"POST": "CreateOptions", "PUT": "UpdateOptions"}


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a client says of a deletion; `uid` and `resource_version` have to be the object's.

    What belongs to an object goes with it, whatever `propagationPolicy` says, and at once,
    whatever `gracePeriodSeconds` says.
    """

    dry_run: bool = False
    uid: str | None = None
    resource_version: str | None = None

    @classmethod
    def of(cls, request: Request, body: Mapping[str, Any]) -> "DeleteOptions":
        """Read the options, which a client may write in the query or in the body.

        Raises
        ------
        ApiError
            422 if one is not what Kubernetes takes, 400 if one is of the wrong type.
        """
        name = "DeleteOptions"
        policy = body.get("propagationPolicy") or request.query_params.get("propagationPolicy")
        if policy:
            _one_of(name, "propagationPolicy", policy, _Propagation)
        preconditions = _typed("preconditions", body.get("preconditions") or {}, dict)
        dry_run = _typed("dryRun", body.get("dryRun") or [], list)
        return cls(
            dry_run=_dry_run(name, [*dry_run, *request.query_params.getlist("dryRun")]),
            uid=_text_or_none("preconditions.uid", preconditions.get("uid")),
            resource_version=_text_or_none(
                "preconditions.resourceVersion", preconditions.get("resourceVersion")
            ),
        )

    def check(self, kind: Kind, document: Document) -> None:
        """Raise ApiError, 409, if `document` is not the object that the client means."""
        metadata = document["metadata"]
        for precondition, wanted, found, happened in (
            ("UID", self.uid, metadata["uid"], "deleted and then recreated"),
            ("ResourceVersion", self.resource_version, metadata["resourceVersion"], "modified"),
        ):
            if wanted not in {None, found}:
                raise conflict(
                    kind.plural,
                    kind.group,
                    metadata["name"],
                    f"the {precondition} in the precondition ({wanted}) does not match the "
                    f"{precondition} in record ({found}). The object might have been {happened}",
                )


def _dry_run(options: str, given: Sequence[Any]) -> bool:
    said = [each for each in given if each]
    for each in said:
        _one_of(options, "dryRun", each, Literal["All"])
    return bool(said)


def _one_of(options: str, field: str, found: Any, choices: Any) -> Any:
    known = get_args(choices)
    if found not in known:
        listed = ", ".join(f'"{each}"' for each in known)
        raise _refusal(
            options,
            field,
            "FieldValueNotSupported",
            f"Unsupported value: {found!r}: supported values: {listed}",
        )
    return found


def _boolean(name: str, text: str | None) -> bool:
    if text in {None, "", "false", "0"}:
        return False
    if text in {"true", "1"}:
        return True
    raise ApiError(400, f"{name} is {text!r}; expected true or false")


def _typed(field: str, value: Any, expected: type[_T]) -> _T:
    if not isinstance(value, expected):
        raise ApiError(
            400,
            f"{field} of the DeleteOptions is a {type(value).__name__}, "
            f"expected a {expected.__name__}",
        )
    return value


def _text_or_none(field: str, value: Any) -> str | None:
    return _typed(field, value, str) if value is not None else None


def _first_part_of_user_agent(request: Request) -> str:
    name = request.headers.get("user-agent", "").partition("/")[0]
    printable = "".join(letter for letter in name if letter.isprintable())
    return printable[:_LONGEST_MANAGER] or "unknown"


def _refusal(options: str, field: str, reason: str, message: str) -> ApiError:
    cause = {"reason": reason, "field": field, "message": message}
    return invalid(options, _OPTIONS_GROUP, "", [cause])
