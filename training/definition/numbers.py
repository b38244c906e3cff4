"""Numbers as they are written: a whole one stays whole."""

from typing import Annotated

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator


def _as_written(value: float, check: ValidatorFunctionWrapHandler) -> float:
    check(value)
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False), WrapValidator(_as_written)]
