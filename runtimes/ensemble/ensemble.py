"""Serve one version of an ensemble.

::

    iris/v3/
    ├── members/
    │   ├── forest/           a whole version: its model, metadata.json, model-settings.json that
    │   │   └── ...           name its own runtime, checksums.json
    │   └── regression/
    │       └── ...
    ├── model-settings.json   names `runtimes.ensemble.Ensemble`, the uri ``.`` and the method
    ├── metadata.json
    └── checksums.json        of every other file, the members' among them

"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlserver import ModelSettings

from abserve.errors import ArtifactError
from abserve.metadata import Metadata
from abserve.schema import Schema
from runtimes.ensemble.combining import mean_prediction, mean_probability, vote
from runtimes.ensemble.members import open_members
from runtimes.inference import Result, Rows
from runtimes.opened import Estimator, Parts
from runtimes.outputs import outputs_of
from runtimes.runtime import Runtime
from runtimes.tabular.rows import TableReader
from runtimes.texts import shorten

METHOD = "method"
MEAN = "mean"
VOTE = "vote"


class Ensemble(Runtime):
    """Answer with what several models say together.

    ``parameters.extra.method`` of the model settings is ``mean`` or ``vote``. The mean is that of
    the members' probabilities, and the label the class it is largest for; of equal ones the first.
    In a vote each member has one, for the class it predicts: the probabilities are the shares of
    the votes, and the label is the class with most, of equal ones that with the larger mean
    probability, of those the first. The members of a regressor answer with the mean of their
    predictions, and have no vote.

    Input: as for `runtimes.tabular.TabularClassifier`; a request that one member refuses is
    refused. Outputs: those of `TabularClassifier` or `TabularRegressor`.

    Requests, answers and feedback are counted for the ensemble, not for its members.
    """

    @classmethod
    def open_parts(cls, folder: Path, metadata: Metadata, settings: ModelSettings) -> Parts:
        schema = metadata.schema_
        combine = _read_method(folder, schema, settings)
        if schema.picture is not None:
            raise ArtifactError(
                f"{folder} takes pictures, and an ensemble reads tables only; serve its members "
                "as versions of their own with runtimes.image"
            )
        together = _Together(open_members(folder, metadata), combine)
        return Parts(TableReader(schema), together, outputs_of(schema))


_Combine = Callable[[Sequence[Any]], Result]


class _Together:
    def __init__(self, members: Sequence[Estimator], combine: _Combine) -> None:
        self._members = members
        self._combine = combine

    def compute(self, rows: Rows) -> Result:
        return self._combine([member.compute(rows) for member in self._members])


def _read_method(folder: Path, schema: Schema, settings: ModelSettings) -> _Combine:
    extra = (settings.parameters.extra if settings.parameters else None) or {}
    method = extra.get(METHOD)
    known: dict[str, _Combine] = (
        {MEAN: mean_prediction} if schema.classes is None else {MEAN: mean_probability, VOTE: vote}
    )
    combine = known.get(method) if isinstance(method, str) else None
    if combine is None or len(extra) > 1:
        kind = "a regressor" if schema.classes is None else "a classifier"
        raise ArtifactError(
            f"the model settings of {folder} have parameters.extra {shorten(extra)}; expected "
            f"{METHOD!r} alone, {' or '.join(map(repr, known))} for {kind}"
        )
    return combine
