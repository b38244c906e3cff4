"""The steps of one training: told before they begin, timed, and named when they fail."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from abserve.errors import AbserveError, GateError, TrainingError

Report = Callable[[str, str], None]
"""Told which step is at work, and what it is doing: ``fit``, ``fitting Ridge on 309 rows``."""


class Steps:
    """The steps taken so far.

    Parameters
    ----------
    subject : str
        What is trained, for messages: ``iris v2``.
    report : callable
        Told of each step before it is taken, and of what goes on in it.
    """

    def __init__(self, subject: str, report: Report) -> None:
        self._subject = subject
        self._report = report
        self._step = ""
        self.durations_seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """Tell what the step that is at work is doing."""
        self._report(self._step, text)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Take a step: tell, time, and name it in whatever goes wrong within.

        Raises
        ------
        TrainingError
            If anything but an error of ours escapes, or a `TrainingError` does.
        """
        self._step = name
        self.say(what)
        began = time.perf_counter()
        try:
            yield
        except GateError:
            raise
        except TrainingError as error:
            raise TrainingError(f"{self._subject} failed while {what}: {error}") from error
        except AbserveError:
            raise
        except Exception as error:  # scikit-learn, skl2onnx and onnxruntime each raise their own
            reason = " ".join(str(error).split())
            raise TrainingError(
                f"{self._subject} failed while {what}: {type(error).__name__}: {reason}; "
                "change what the definition says of this version"
            ) from error
        self.durations_seconds[name] = round(time.perf_counter() - began, 3)
