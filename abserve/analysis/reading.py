"""From the text of an experiment file to the experiment, or to all mistakes in it."""

from abserve.analysis.experiment_file import Experiment
from abserve.errors import ExperimentError
from abserve.stated.document import Kind
from abserve.stated.reading import read_stated

EXPERIMENT_FILE = Kind("an experiment", ExperimentError)


def read_experiment(text: str, name: str) -> Experiment:
    r"""Read an experiment.

    Parameters
    ----------
    text : str
        YAML, at most 64 KiB.
    name : str
        What to call it in messages: the file's path.

    Raises
    ------
    ExperimentError
        If it states no experiment. Each line of the message is one mistake: file and line, what
        was found, what was expected. What does not fit together is told once all fields are right
        by themselves.

    Examples
    --------
    >>> try:
    ...     read_experiment("deployment: iris\ncandidate: v2\nprimray: {}\n", "e.yaml")
    ... except ExperimentError as error:
    ...     print(str(error).splitlines()[-1])
    e.yaml, line 3: primray is no field here; did you mean primary?
    """
    return read_stated(text, name, Experiment, EXPERIMENT_FILE)
