"""What goes into a model and what comes out, as its version states it.

Training writes the schema into ``metadata.json``; the runtime builds its tensors, its checks and
the V2 metadata from it, so that the three can never disagree.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from abserve.stated.base import Fault, Stated, expects

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Value(BaseModel):
    """A frozen value that rejects unknown fields; the base of all that programs write to files."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Feature(Stated):
    """One column of a model's input; models compute with numbers.

    `type` says which numbers: any, whole ones, or those that stand for a category, which is its
    position in `categories`. `minimum` and `maximum` bound the values the model was meant for, in
    the feature's own unit; None leaves that side open. `outside` says what a runtime does with a
    value beyond them: answer and count it, or refuse the request. `missing` says whether a value
    may be absent, which the model then gets as NaN.
    """

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        json_schema_extra=expects("lower-case letters, digits and '_', beginning with a letter"),
        description="What the column is called, with its unit at the end.",
        examples=["width_cm"],
    )
    type: Literal["number", "integer", "category"] = Field(
        default="number",
        description="Any number, a whole one, or a category, which the model gets as its position.",
        examples=["number"],
    )
    categories: Annotated[tuple[str, ...], Field(min_length=2, strict=False)] | None = Field(
        default=None,
        description="For a category: the values of the column; the position of one is its number.",
        examples=[["red", "green"]],
    )
    minimum: _Finite | None = Field(
        default=None,
        description="The least value the model is meant for; left out, there is none.",
        examples=[0.5],
    )
    maximum: _Finite | None = Field(
        default=None,
        description="The greatest value the model is meant for; left out, there is none.",
        examples=[9.0],
    )
    outside: Literal["count", "refuse"] = Field(
        default="count",
        description="What a runtime does with a value beyond the bounds: answer and count it, or "
        "refuse the request. Unknown categories are refused.",
        examples=["count"],
    )
    missing: Literal["allow", "refuse"] = Field(
        default="refuse",
        description="Whether a value may be absent.",
        examples=["refuse"],
    )

    @model_validator(mode="before")
    @classmethod
    def _positions_are_bounds(cls, found: Any) -> Any:
        if isinstance(found, Mapping) and isinstance(found.get("categories"), list | tuple):
            last = len(found["categories"]) - 1
            return {"minimum": 0.0, "maximum": float(last), "outside": "refuse", **found}
        return found

    def _faults(self) -> Iterator[Fault]:
        low, high = self.minimum, self.maximum
        if self.categories is None:
            if self.type == "category":
                yield (
                    ("type",),
                    "is category, without categories; expected which there are: add them",
                )
            if low is not None and high is not None and low >= high:
                yield ("minimum",), f"is {low}; expected less than maximum, {high}"
            return
        if self.type != "category":
            yield ("categories",), f"are given, and type {self.type}: add `type: category`"
        if repeated := repetitions(self.categories):
            yield ("categories",), f"name {repeated[0]!r} twice; expected each once: remove one"
        if (low, high) != (0.0, float(len(self.categories) - 1)):
            yield (
                ("categories",),
                "are given, and bounds, which follow from them: remove the bounds",
            )


class Picture(Stated):
    """How a picture becomes a row of features: resized, then each channel's values mapped.

    A pixel's value goes linearly from `black` to `white`, one number per channel: ``[0]`` and
    ``[16]`` are a grey picture with values from 0 to 16, ``[16]`` and ``[0]`` the same inverted.
    The features are the pixels row by row, and the channels within each pixel.
    """

    width: int = Field(ge=1, le=4096, description="Columns of pixels.", examples=[8])
    height: int = Field(ge=1, le=4096, description="Rows of pixels.", examples=[8])
    channels: Literal["grey", "rgb"] = Field(
        description="One value per pixel, or red, green and blue.", examples=["grey"]
    )
    black: tuple[_Finite, ...] = Field(
        default=(0.0,),
        strict=False,
        description="What a channel without light is for the model; one number per channel.",
        examples=[[0]],
    )
    white: tuple[_Finite, ...] = Field(
        default=(1.0,),
        strict=False,
        description="What a channel with all light is for the model; one number per channel.",
        examples=[[16]],
    )

    @property
    def n_channels(self) -> int:
        return 1 if self.channels == "grey" else 3

    def _faults(self) -> Iterator[Fault]:
        for name, values in (("black", self.black), ("white", self.white)):
            if len(values) != self.n_channels:
                yield (
                    (name,),
                    f"has {len(values)} numbers; expected {self.n_channels}, one per channel",
                )


class Schema(Value):
    """The columns of a model's input, in order, and the names of its classes.

    The position of a class in `classes` is the index the exported model answers with; a model
    without classes is a regressor. `picture` says how a picture becomes the features, for a model
    that takes pictures.
    """

    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    classes: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    picture: Picture | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (("feature", self.feature_names), ("class", self.classes or ())):
            if repeated := repetitions(names):
                raise ValueError(f"{what} {repeated[0]!r} is named twice")
        return self

    @model_validator(mode="after")
    def _features_are_the_pixels(self) -> Self:
        if self.picture is not None:
            pixels = self.picture.width * self.picture.height * self.picture.n_channels
            if pixels != len(self.features):
                raise ValueError(
                    f"the picture has {pixels} values, but there are {len(self.features)} features"
                )
        return self

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


def repetitions(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
