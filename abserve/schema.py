"""What goes into a model and what comes out, as its version states it.

Training writes the schema into ``metadata.json``; the runtime builds its tensors, its checks and
the V2 metadata from it, so that the three can never disagree.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Value(BaseModel):
    """A frozen value that rejects unknown fields; the base of all we read from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Feature(Value):
    """One numeric column of a model's input.

    `minimum` and `maximum` bound the values the model was meant for, in the feature's own unit;
    None leaves that side open.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    minimum: Annotated[float, Field(allow_inf_nan=False)] | None = None
    maximum: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        return self


class Schema(Value):
    """The columns of a classifier's input, in order, and the names of its classes.

    The position of a class in `classes` is the index the exported model answers with.
    """

    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    classes: Annotated[tuple[str, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (("feature", self.feature_names), ("class", self.classes)):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"{what} {repeated[0]!r} is named twice")
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)
