"""Where the rows come from, what of them is predicted, and which of them fitting never sees."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from abserve.schema import repetitions
from abserve.stated.base import Fault, Stated, expects
from training.definition.numbers import Number
from training.metric_names import Kind

KIND_OF_BUNDLE: Mapping[str, Kind] = {
    "iris": "classification",
    "wine": "classification",
    "breast_cancer": "classification",
    "diabetes": "regression",
    "digits": "classification",
}
"""What the targets of scikit-learn's own data sets are."""

_SCHEMES = ("s3", "gs", "file")
_EXPECTED = "s3://, gs:// or file://, or a relative path"
_CREDENTIALS = re.compile(
    r"[?&](X-Amz-Credential|X-Amz-Signature|AWSAccessKeyId|X-Goog-Signature|token|secret|key)=",
    re.IGNORECASE,
)

Url = Annotated[
    str,
    Field(
        min_length=1,
        description="The file: s3://, gs:// or file://, or a path relative to the working folder.",
        examples=["s3://churn/2026/customers.csv"],
    ),
]


class BundledData(Stated):
    """A real data set that scikit-learn carries with it: nothing is downloaded."""

    source: Literal["sklearn"] = Field(
        description="A data set of scikit-learn.", examples=["sklearn"]
    )
    name: Literal["iris", "wine", "breast_cancer", "diabetes", "digits"] = Field(
        description="Which one.", examples=["iris"]
    )


class _FileData(Stated):
    url: Url

    def _faults(self) -> Iterator[Fault]:
        if wrong := _wrong_url(self.url):
            yield ("url",), wrong


class CsvData(_FileData):
    """A file of comma-separated values with a header, at any URL that fsspec opens."""

    source: Literal["csv"] = Field(description="Comma-separated values.", examples=["csv"])
    separator: str = Field(
        default=",",
        pattern=r'^[^\r\n"]$',
        json_schema_extra=expects("one character, no quotation mark and no end of a line"),
        description="What stands between two values.",
        examples=[";"],
    )


class ParquetData(_FileData):
    """A Parquet file, at any URL that fsspec opens."""

    source: Literal["parquet"] = Field(description="Apache Parquet.", examples=["parquet"])


Data = Annotated[BundledData | CsvData | ParquetData, Field(discriminator="source")]


class Target(Stated):
    """What is predicted: the column of that name.

    For a classifier, `classes` are the values of the column, in the order in which the model
    numbers them; left out, they are those that occur, sorted. `positive` is the class that a metric
    of two classes is about. For a regressor, `minimum` and `maximum` bound the values.
    """

    name: str = Field(
        min_length=1,
        description="The column, or what to call the target of scikit-learn's own data.",
        examples=["species"],
    )
    classes: Annotated[tuple[str, ...], Field(min_length=2, strict=False)] | None = Field(
        default=None,
        description="For a classifier: the values of the column, in the order in which the model "
        "numbers them; left out, those that occur, sorted.",
        examples=[["no", "yes"]],
    )
    positive: str | None = Field(
        default=None,
        description="For a classifier of two classes: the one that metrics are about.",
        examples=["yes"],
    )
    minimum: Number | None = Field(
        default=None, description="For a regressor: the least value that can be.", examples=[0]
    )
    maximum: Number | None = Field(
        default=None, description="For a regressor: the greatest value that can be.", examples=[400]
    )

    def _faults(self) -> Iterator[Fault]:
        if self.classes is not None:
            if repeated := repetitions(self.classes):
                yield ("classes",), f"name {repeated[0]!r} twice; expected each once: remove one"
            yield from self._faults_of_positive(self.classes)
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and low >= high:
            yield ("minimum",), f"is {low}; expected less than maximum, {high}"

    def _faults_of_positive(self, classes: tuple[str, ...]) -> Iterator[Fault]:
        if self.positive is None:
            return
        if self.positive not in classes:
            yield (
                ("positive",),
                f"is {self.positive!r}; expected one of the classes, {', '.join(classes)}",
            )
        elif len(classes) > 2:  # noqa: PLR2004
            yield (
                ("positive",),
                f"is {self.positive!r}, of {len(classes)} classes; metrics are about one class "
                "where there are two: remove it",
            )


class Split(Stated):
    """Which rows fitting never sees: a fraction of every class, chosen by a seed.

    `duplicates` says what becomes of rows that are equal in all features and on both sides: the
    training is refused, or those held out go to the others (`together`), or they stay, being
    different things that were measured alike (`keep`).
    """

    held_out: float = Field(
        gt=0,
        lt=1,
        description="The fraction of the rows, of every class alike, that versions are judged by.",
        examples=[0.3],
    )
    seed: int = Field(
        ge=0,
        lt=2**32,
        description="Fixes which rows they are, and the chances that an estimator takes.",
        examples=[7],
    )
    duplicates: Literal["refuse", "together", "keep"] = Field(
        default="refuse",
        description="If rows that are equal in all features are on both sides. refuse: the "
        "training stops. together: those held out are fitted on as well. keep: they stay; they are "
        "different things that were measured alike.",
        examples=["together"],
    )


def _wrong_url(url: str) -> str | None:
    """Return what is wrong with the place of a file, as a sentence without its subject."""
    scheme, found, rest = url.partition("://")
    if not found:
        return _wrong_path(url)
    bucket, _, path = rest.partition("/")
    if scheme not in _SCHEMES:
        wrong = (
            f"begins with {scheme}://; expected {_EXPECTED}: copy the file to one of these places"
        )
    elif "@" in bucket or _CREDENTIALS.search(url):
        wrong = (
            "holds credentials, which everyone who reads the definition would have; expected none: "
            "remove them, and give them by the environment"
        )
    elif scheme == "file" and bucket:
        wrong = f"names the host {bucket!r}; expected file:/// and the path on this machine"
    elif scheme != "file" and not bucket:
        wrong = f"names no bucket; expected {scheme}://bucket/path"
    elif not path:
        wrong = f"names no file; expected {scheme}://{bucket}/path"
    else:
        return None
    return wrong


def _wrong_path(path: str) -> str | None:
    if path.startswith("/"):
        return f"is the path {path!r}; expected {_EXPECTED}: write `file://{path}`"
    if ":" in path:
        return f"is {path!r}; expected {_EXPECTED}"
    return None
