"""All that a file of ``models/`` says, and whether it fits together."""

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from abserve.errors import DefinitionError
from abserve.schema import Feature, Picture, repetitions
from abserve.stated.base import Fault, Location, Stated, expects
from training.definition.data import KIND_OF_BUNDLE, BundledData, Data, Split, Target
from training.definition.estimator import Estimator
from training.definition.gates import Gates
from training.estimators import short_list
from training.metric_names import METRIC_NAMES, Kind, names_of

PIPELINES: Mapping[str, Kind] = {
    "classification": "classification",
    "regression": "regression",
    "images": "classification",
}
"""The pipelines that abserve has, and what each predicts."""

_OF_PICTURES = "images"
_VERSION = r"^v[1-9][0-9]{0,8}$"
_VERSIONS = {"pattern": _VERSION, **expects("v1, v2, v3 and so on")}


class Retention(Stated):
    """Which versions `abserve models prune` keeps: the newest, and the young ones."""

    keep_last: int = Field(
        default=5, ge=1, description="So many of the newest versions.", examples=[5]
    )
    keep_days: int = Field(
        default=90, ge=0, description="All versions that are younger, in days.", examples=[90]
    )


class About(Stated):
    """What a reader of the card should know, in the words of the model's owner."""

    owner: str | None = Field(
        default=None, description="Who answers for the model.", examples=["Ada, fraud team"]
    )
    purpose: str | None = Field(
        default=None,
        description="What it is for.",
        examples=["Sorts incoming claims; a person decides."],
    )
    limits: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="What it is not for, and where it fails.",
        examples=[["Not for customers younger than 18."]],
    )
    licence: str | None = Field(
        default=None, description="Of the data and the model.", examples=["CC BY 4.0"]
    )


class Definition(Stated):
    """What to train, and how good it has to be."""

    model: str = Field(
        description="The model's name, which is the file's without .yaml.", examples=["iris"]
    )
    description: str = Field(
        min_length=1,
        json_schema_extra=expects("a sentence"),
        description="What the model does, in a sentence.",
        examples=["Tells three species of iris apart."],
    )
    metadata: About = Field(
        default=About(),
        description="What a reader of the card should know.",
        examples=[{"owner": "Ada, fraud team"}],
    )
    pipeline: str = Field(
        default="classification",
        pattern=rf"^({'|'.join(PIPELINES)}|[A-Za-z_]\w*(\.[A-Za-z_]\w*)+)$",
        json_schema_extra=expects(
            f"{', '.join(PIPELINES)}, or the import path of a pipeline of your own"
        ),
        description="The steps from the data to a version.",
        examples=["classification"],
    )
    data: Data = Field(
        description="Where the rows come from.", examples=[{"source": "sklearn", "name": "iris"}]
    )
    features: tuple[Feature, ...] = Field(
        default=(),
        strict=False,
        description="The columns that the model gets, in their order.",
        examples=[[{"name": "width_cm", "minimum": 0}]],
    )
    picture: Picture | None = Field(
        default=None,
        description="Instead of features: how a picture becomes numbers.",
        examples=[{"width": 8, "height": 8, "channels": "grey"}],
    )
    target: Target = Field(description="What is predicted.", examples=[{"name": "species"}])
    split: Split = Field(
        description="Which rows fitting never sees.", examples=[{"held_out": 0.3, "seed": 7}]
    )
    gates: Gates = Field(
        default=Gates(),
        description="How good a version has to be before it is published.",
        examples=[{"metrics": {"accuracy": {"at_least": 0.9}}}],
    )
    retention: Retention = Field(
        default=Retention(),
        description="Which versions `abserve models prune` keeps.",
        examples=[{"keep_last": 5, "keep_days": 90}],
    )
    versions: Mapping[Annotated[str, Field(pattern=_VERSION)], Estimator] = Field(
        min_length=1,
        json_schema_extra={"propertyNames": _VERSIONS, **expects("an estimator for each version")},
        description="What each version is fitted with.",
        examples=[{"v1": {"estimator": "sklearn.tree.DecisionTreeClassifier", "scale": False}}],
    )

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """The columns of the model's input: `features`, or one for every value of `picture`.

        Those are named `pixel_<row>_<column>`, with the channel after it where there are three.
        """
        return self.features if self.picture is None else _pixels(self.picture)

    @property
    def kind(self) -> Kind:
        """What the versions predict, all alike: classes or numbers."""
        return next(iter(self.versions.values())).kind

    def estimator(self, version: str) -> Estimator:
        """Return what `version` is fitted with.

        Raises
        ------
        DefinitionError
            If the definition does not describe that version.
        """
        try:
            return self.versions[version]
        except KeyError:
            described = ", ".join(self.versions)
            raise DefinitionError(
                f"the definition of {self.model} describes {described}, not {version!r}; "
                "train one of those, or describe it under versions"
            ) from None

    def _faults(self) -> Iterator[Fault]:
        yield from self._faults_of_inputs()
        yield from self._faults_of_kind()
        yield from self._faults_of_names()

    def _faults_of_inputs(self) -> Iterator[Fault]:
        wants_picture = self.pipeline == _OF_PICTURES
        own = self.pipeline not in PIPELINES
        if self.features and self.picture is not None:
            yield ("picture",), "is given, and features, which follow from it: remove the one"
        elif self.picture is not None and not (wants_picture or own):
            yield (
                ("picture",),
                f"is given, and the pipeline {self.pipeline} takes features: write "
                f"`pipeline: {_OF_PICTURES}`, or features instead",
            )
        elif wants_picture and self.picture is None:
            yield (
                ("picture",),
                f"is missing, and the pipeline is {_OF_PICTURES}; write for example "
                "`picture: {width: 8, height: 8, channels: grey}`",
            )
        elif not self.features and self.picture is None:
            yield (
                ("features",),
                "are missing; expected the columns that the model gets; write for example "
                "`features: [{name: width_cm}]`",
            )
        if repeated := repetitions([feature.name for feature in self.features]):
            index = max(i for i, each in enumerate(self.features) if each.name == repeated[0])
            yield (
                ("features", index),
                f"names {repeated[0]!r} once more; expected each feature once: remove one",
            )

    def _faults_of_kind(self) -> Iterator[Fault]:
        """Yield what is for classes and stands where numbers are predicted, or the other way."""
        known = self.pipeline in PIPELINES
        kind = PIPELINES[self.pipeline] if known else self.kind
        because = f", as the pipeline is {self.pipeline}" if known else ", as the first version is"
        for version, described in self.versions.items():
            if described.kind != kind:
                yield (
                    ("versions", version, "estimator"),
                    f"is {described.name}, which is for {described.kind}; expected one for "
                    f"{kind}{because}",
                )
        if isinstance(self.data, BundledData):
            of_data = KIND_OF_BUNDLE[self.data.name]
            if of_data != kind:
                yield (
                    ("data", "name"),
                    f"is {self.data.name}, which is for {of_data}; expected data for "
                    f"{kind}{because}",
                )
        for location, metric in self._metrics():
            if METRIC_NAMES[metric].kind != kind:
                yield (
                    location,
                    f"names {metric}, which judges {METRIC_NAMES[metric].kind}; expected a metric "
                    f"for {kind}{because}: {', '.join(names_of(kind))}",
                )
        out_of_place: Mapping[Location, object] = {
            ("target", "classes"): self.target.classes,
            ("target", "positive"): self.target.positive,
            ("gates", "recall"): self.gates.recall or None,
        }
        what = "is about classes, and the model predicts numbers"
        if kind == "classification":
            out_of_place = {
                ("target", "minimum"): self.target.minimum,
                ("target", "maximum"): self.target.maximum,
            }
            what = "is about numbers, and the model predicts classes"
        for location, given in out_of_place.items():
            if given is not None:
                yield location, f"{what}{because}: remove it"

    def _metrics(self) -> Iterator[tuple[Location, str]]:
        """Yield each metric that is named, and where."""
        for field in ("metrics", "serving"):
            for metric in getattr(self.gates, field):
                yield ("gates", field, metric), metric
        for name, gate in self.gates.slices.items():
            for metric in gate.metrics:
                yield ("gates", "slices", name, "metrics", metric), metric
        for version, described in self.versions.items():
            if described.search is not None:
                yield ("versions", version, "search", "scoring"), described.search.scoring

    def _faults_of_names(self) -> Iterator[Fault]:
        features = [feature.name for feature in self.inputs]
        if self.target.name in features:
            yield (
                ("target", "name"),
                f"is {self.target.name}, which is a feature too; expected another column, or the "
                "model would be told what it is to predict: remove that feature",
            )
        for name, gate in self.gates.slices.items():
            if gate.feature not in features:
                yield (
                    ("gates", "slices", name, "feature"),
                    f"is {gate.feature!r}; expected a feature: "
                    f"{short_list(features, gate.feature)}",
                )
        if self.target.classes is not None:
            for name in self.gates.recall:
                if name not in self.target.classes:
                    yield (
                        ("gates", "recall", name),
                        "is no class; expected one of target.classes, "
                        f"{short_list(self.target.classes, name)}: rename or remove it",
                    )


def _pixels(picture: Picture) -> tuple[Feature, ...]:
    channels = [""] if picture.channels == "grey" else ["_red", "_green", "_blue"]
    return tuple(
        Feature(name=f"pixel_{row}_{column}{channel}", minimum=min(ends), maximum=max(ends))
        for row in range(picture.height)
        for column in range(picture.width)
        for channel, *ends in zip(channels, picture.black, picture.white, strict=True)
    )
