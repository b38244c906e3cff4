"""From a file of ``models/`` to a `Definition`, or to all mistakes in it with their lines."""

from collections.abc import Iterator
from pathlib import Path

from abserve.errors import DefinitionError
from abserve.names import check_served_model_name
from abserve.stated.base import Fault
from abserve.stated.document import Kind, read_text
from abserve.stated.reading import read_stated
from training.definition import Definition

# Some thousand features, one on each line.
DEFINITION_FILE = Kind("a model definition", DefinitionError, most_bytes=256 * 1024)


def read_definition(folder: Path, model: str) -> Definition:
    """Read what to train for a model.

    Parameters
    ----------
    folder : Path
        The folder of definitions, ``models/``.
    model : str
        The model's name; its definition is ``<model>.yaml``.

    Raises
    ------
    DefinitionError
        If there is no such definition, or it is not one that can be trained. Each line of the
        message is one mistake: file and line, what was found, what was expected.
    """
    check_served_model_name(model, DefinitionError)
    path = folder / f"{model}.yaml"
    if not path.is_file():
        raise DefinitionError(_missing(folder, path))

    def faults(definition: Definition) -> Iterator[Fault]:
        if definition.model != model:
            yield (
                ("model",),
                f"is {definition.model!r}; expected {model!r}, the file's name: change the one or "
                "rename the other",
            )

    return read_stated(
        read_text(path, DEFINITION_FILE), str(path), Definition, DEFINITION_FILE, faults
    )


def _missing(folder: Path, path: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}; expected the folder of model definitions"
    others = sorted(other.stem for other in folder.glob("*.yaml"))
    return (
        f"{path} does not exist; {folder} defines {', '.join(others) or 'no model'}: "
        "name one that is defined, or write the file"
    )
