"""Find a model by what a client calls it."""

from mlserver import MLModel
from mlserver.errors import ModelNotFound
from mlserver.registry import MultiModelRegistry

from runtimes.texts import enumerate_names, shorten


class NotServedError(ModelNotFound):
    """A model that is not here; the message says what is."""

    def __init__(self, message: str, status_code: int = 404) -> None:
        super().__init__("")
        self.args = (message,)
        self.status_code = status_code


async def find_model(registry: MultiModelRegistry, name: str, version: str | None) -> MLModel:
    """Return the model that serves `name`, in a version or in the newest.

    Raises
    ------
    NotServedError
        With status 404 if there is none, 503 while there is none of any name: the first is loading.
    """
    try:
        return await registry.get_model(name, version)
    except ModelNotFound:
        pass
    # The registry's own way to list its models waits, and no lookup may.
    served = registry._models
    if name in served:
        versions = sorted(map(str, served[name]._versions))
        raise NotServedError(
            f"version {shorten(version)} of model {shorten(name)} is not served here; expected "
            f"{enumerate_names(versions)}"
        )
    if not served:
        raise NotServedError(f"model {shorten(name)} is not loaded yet; try again shortly", 503)
    expected = enumerate_names(sorted(served))
    raise NotServedError(f"model {shorten(name)} is not served here; expected {expected}")
