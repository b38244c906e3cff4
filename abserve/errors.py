"""Every error abserve raises on purpose.

::

    AbserveError
    ├── DefinitionError    a file of models/ does not say what to train
    ├── TrainingError      a version was fitted and is not fit to be published
    │   └── GateError            it is not as good as its definition demands
    ├── TrackingError      a version is published, and cannot be logged
    ├── RepositoryError    the model repository cannot be read or written
    │   └── VersionExistsError   versions are immutable; this one is taken
    ├── ArtifactError      the files of a version are missing or were changed
    ├── ManifestError      a SeldonDeployment that Seldon would refuse, or we cannot run
    │   └── UnderWayError        an experiment or a promotion is going on
    ├── FeedbackError      a feedback token that is forged, damaged or foreign
    ├── TelemetryError     counts that cannot be read
    │   └── LostCountsError      of a past moment; asking again does not bring them back
    ├── ExperimentError    counts, weights or bounds that no comparison can be made of
    ├── AuditError         the audit log of a rollout was changed, or cannot be written
    ├── ScoringError       a file cannot be scored to its end
    ├── KubernetesError    the Kubernetes API refused or did not answer
    └── ClusterError       the local cluster could not do what was asked

A message says what was found, what was expected, and what to do. The command line prints it
without a traceback and exits with 1; anything else that escapes is a bug.
"""

from typing import Any


class AbserveError(Exception):
    """Something a user can mend, said in words they can act on."""


class DefinitionError(AbserveError):
    """A model definition is missing or says something that cannot be done."""


class TrainingError(AbserveError):
    """Fitting, judging or exporting a version failed; nothing was published."""


class GateError(TrainingError):
    """A version failed gates; `outcomes` holds all of them, passed ones too."""

    def __init__(self, message: str, outcomes: tuple[Any, ...]) -> None:
        super().__init__(message)
        self.outcomes = outcomes


class TrackingError(AbserveError):
    """A published version cannot be logged to MLflow."""


class RepositoryError(AbserveError):
    """The model repository cannot be reached, read or written."""


class VersionExistsError(RepositoryError):
    """The version is already published, and versions are immutable."""


class ArtifactError(AbserveError):
    """The files of a version are missing, superfluous or altered."""


class ManifestError(AbserveError):
    """A SeldonDeployment, or the weights in it, would be refused."""


class UnderWayError(ManifestError):
    """An experiment or a promotion is going on; once it has ended, the same can be done."""


class FeedbackError(AbserveError):
    """A feedback token is not one that we signed."""


class TelemetryError(AbserveError):
    """Counts are missing or cannot be read."""


class LostCountsError(TelemetryError):
    """What was counted at a past moment is not known, and asking again does not help."""


class ExperimentError(AbserveError):
    """Counts, weights or bounds do not describe an experiment."""


class AuditError(AbserveError):
    """The audit log of a rollout cannot be read, trusted or written."""


class ScoringError(AbserveError):
    """A file of rows cannot be read, or what serves the model refuses or does not answer."""


class KubernetesError(AbserveError):
    """The Kubernetes API refused a request or cannot be reached."""


class ClusterError(AbserveError):
    """The local cluster cannot be started, reached or stopped."""
