"""What goes into a model and what comes out, as its version states it.

Training writes the schema into ``metadata.json``; the runtime builds its tensors, its checks and
the V2 metadata from it, so that the three can never disagree.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Value(BaseModel):
    """A frozen value that rejects unknown fields; the base of all we read from files."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Feature(Value):
    """One numeric column of a model's input.

    `minimum` and `maximum` bound the values the model was meant for, in the feature's own unit;
    None leaves that side open. `outside` says what a runtime does with a value beyond them: answer
    and count it, or refuse the request. `missing` says whether a value may be absent, which the
    model then gets as NaN.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    minimum: _Finite | None = None
    maximum: _Finite | None = None
    outside: Literal["count", "refuse"] = "count"
    missing: Literal["allow", "refuse"] = "refuse"

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        return self


class Picture(Value):
    """How a picture becomes a row of features: resized, then each channel's values mapped.

    A pixel's value goes linearly from `black` to `white`, one number per channel: ``[0]`` and
    ``[16]`` are a grey picture with values from 0 to 16, ``[16]`` and ``[0]`` the same inverted.
    The features are the pixels row by row, and the channels within each pixel.
    """

    width: Annotated[int, Field(ge=1, le=4096)]
    height: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal["grey", "rgb"]
    black: tuple[_Finite, ...] = (0.0,)
    white: tuple[_Finite, ...] = (1.0,)

    @property
    def n_channels(self) -> int:
        return 1 if self.channels == "grey" else 3

    @model_validator(mode="after")
    def _one_number_per_channel(self) -> Self:
        for name, values in (("black", self.black), ("white", self.white)):
            if len(values) != self.n_channels:
                raise ValueError(
                    f"{name} has {len(values)} numbers, expected {self.n_channels}: one per channel"
                )
        return self


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
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
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
