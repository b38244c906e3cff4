"""What Envoy makes of these is asked in ``tests/e2e/test_envoy.py``."""

import json
from typing import Any

from abserve.gateway.replies import reply_configuration


def mappers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = reply_configuration()["mappers"]
    return found


def test_whatever_no_rule_speaks_of_is_still_json() -> None:
    assert reply_configuration()["body_format"] == {"json_format": {"error": "%LOCAL_REPLY_BODY%"}}


def test_grpc_gets_the_words_alone() -> None:
    for mapper in mappers():
        is_for_grpc = "application/grpc" in json.dumps(mapper["filter"])
        assert ("text_format_source" in mapper["body_format_override"]) == is_for_grpc


def test_grpc_is_asked_for_first_because_the_first_rule_that_fits_holds() -> None:
    kinds = ["application/grpc" in json.dumps(mapper["filter"]) for mapper in mappers()]
    assert kinds[:-1] == [True, *[True, False] * (len(kinds) // 2 - 1)]
    assert kinds[-1]
