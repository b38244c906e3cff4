"""Which labels the result of a PromQL expression has, by what is exposed.

Prometheus takes a wrong name for a series that does not exist, and answers nothing. So every name
is looked up here: that of each metric, and each label where it is used.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import promql_parser as promql

Labels: TypeAlias = frozenset[str]
Exposed: TypeAlias = Mapping[str, Labels]

_NO_LABELS: Labels = frozenset()
_BY = promql.AggModifierType.By


class UnknownNameError(AssertionError):
    """A metric or a label that nothing exposes."""


def labels_of(expression: str, exposed: Exposed) -> Labels:
    """Return the labels of the expression's result; raise if it uses a name that is not exposed.

    Parameters
    ----------
    expression : str
        PromQL, its variables filled in.
    exposed : mapping of str to frozenset of str
        The labels of each metric, those of its target among them.
    """
    return _labels(promql.parse(expression), exposed)


def _labels(node: Any, exposed: Exposed) -> Labels:
    match node:
        case promql.VectorSelector():
            found = _of_selector(node, exposed)
        case promql.MatrixSelector():
            found = _of_selector(node.vector_selector, exposed)
        case promql.AggregateExpr():
            found = _of_aggregation(node, exposed)
        case promql.Call():
            found = _of_call(node, exposed)
        case promql.BinaryExpr():
            found = _of_operation(node, exposed)
        case promql.NumberLiteral() | promql.StringLiteral():
            found = _NO_LABELS
        case _:
            found = _labels(node.expr, exposed)
    return found


def _of_selector(node: Any, exposed: Exposed) -> Labels:
    if node.name not in exposed:
        raise UnknownNameError(f"nothing exposes {node.name}")
    matched = {each.name for each in node.matchers.matchers}
    return _need(matched, exposed[node.name], f"{node.name}")


def _of_aggregation(node: Any, exposed: Exposed) -> Labels:
    inner = _labels(node.expr, exposed)
    if node.modifier is None:
        return _NO_LABELS
    named = frozenset(node.modifier.labels)
    _need(named, inner, f"{node.op} of {node.expr.prettify()}")
    return named if node.modifier.type == _BY else inner - named


def _of_call(node: Any, exposed: Exposed) -> Labels:
    inner = frozenset[str]().union(*(_labels(each, exposed) for each in node.args))
    if node.func.name == "histogram_quantile":
        return _need({"le"}, inner, "histogram_quantile") - {"le"}
    if node.func.name == "label_replace":
        return inner | {str(node.args[1].val)}
    return inner


def _of_operation(node: Any, exposed: Exposed) -> Labels:
    left, right = _labels(node.lhs, exposed), _labels(node.rhs, exposed)
    matching = node.modifier.matching if node.modifier else None
    if matching is not None:
        both = left & right
        _need(frozenset(matching.labels), both, f"both sides of {node.op}")
    if str(node.op) in {"and", "unless"} or matching is not None or not right:
        return left
    return left | right if str(node.op) == "or" else left or right


def _need(named: Any, there: Labels, where: str) -> Labels:
    missing = sorted(set(named) - there)
    if missing:
        raise UnknownNameError(f"{where} has no label {missing}; it has {sorted(there)}")
    return there
