"""Turn the inputs of an inference request into rows of pixels, or say why that cannot be done.

Pictures are decoded where requests are answered, on the event loop. One of 8 x 8 pixels takes 40
microseconds, a JPEG of 1024 x 768 some 2 to 4 milliseconds, a PNG of 16 megapixels a third of a
second, in which the process answers nobody. So a request may hold twice that and no more, and
pixels are counted before they are decoded.
"""

import binascii
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlserver.types import MetadataTensor, Parameters
from numpy.typing import NDArray

from abserve.errors import ArtifactError
from abserve.schema import Feature, Picture
from runtimes.image.files import PictureFile, is_picture_file, read_file
from runtimes.image.pixels import decode, prepare_decoders
from runtimes.inference import Rows, Tensor
from runtimes.refusals import RefusedError
from runtimes.texts import shorten

IMAGE = "image"
MAX_PICTURES = 256
MAX_PIXELS = 4096 * 4096
MAX_TOTAL_PIXELS = 2 * MAX_PIXELS
# A picture costs by its rows as well as by its pixels.
MAX_SIDE = 16_384

_TOO_LARGE = 413
_NESTED_AXES = 2
_N_VALUES = 256
_N_SHOWN = 40
_BASE64 = "standard base64 with its padding, and no line breaks or 'data:' before it"


class PictureReader:
    """Reads the input of requests as rows of pixels.

    Parameters
    ----------
    picture : Picture
        What pictures are resized to, and which numbers their pixels become.
    features : sequence of Feature
        One for each number of a picture.

    Raises
    ------
    ArtifactError
        If a feature is to refuse a number that a pixel may become.
    """

    content_types = frozenset({"base64"})

    def __init__(self, picture: Picture, features: Sequence[Feature]) -> None:
        self._picture = picture
        self._n_features = len(features)
        # A picture of the schema's size costs its pixels as well, however few its file has.
        self._max_pictures = max(
            1, min(MAX_PICTURES, MAX_TOTAL_PIXELS // (picture.width * picture.height))
        )
        self._channels = np.arange(picture.n_channels)
        self._numbers = _pixel_numbers(picture)
        _check_bounds(picture, features)
        prepare_decoders()

    def metadata(self) -> list[MetadataTensor]:
        """Return the input as the model's metadata states it, with the picture's size."""
        picture = Parameters(
            content_type="base64",
            width=self._picture.width,
            height=self._picture.height,
            channels=self._picture.channels,
        )
        return [MetadataTensor(name=IMAGE, datatype="BYTES", shape=[-1, 1], parameters=picture)]

    def read(self, inputs: Sequence[Tensor]) -> Rows:
        """Return the pixels that the input of one request describes.

        Parameters
        ----------
        inputs : sequence of Tensor
            One input ``image`` BYTES of shape (n_pictures,) or (n_pictures, 1). A string is base64;
            bytes are a file if they begin like one, and base64 otherwise.

        Returns
        -------
        ndarray of shape (n_pictures, n_features), float32
            The pixels row by row, and the channels within each pixel.

        Raises
        ------
        RefusedError
            With status 413 if there are too many pictures or pixels, with 400 for any other fault.
            The message says which picture, what was found and what was expected.
        """
        elements = self._elements(inputs)
        rows = np.empty((len(elements), self._n_features), np.float32)
        left = MAX_TOTAL_PIXELS
        for i, element in enumerate(elements):
            try:
                file = read_file(_to_bytes(element))
                left -= _count_pixels(file, left)
                pixels = decode(file, self._picture)
            except RefusedError as error:
                raise RefusedError(
                    error.reason,
                    f"picture {i} (from 0) of input {IMAGE!r} {error}",
                    error.status_code,
                ) from error
            rows[i] = self._numbers[self._channels, pixels].ravel()
        return rows

    def _elements(self, inputs: Sequence[Tensor]) -> list[Any]:
        """Return the elements of the one input there should be, one per picture."""
        expected = f"expected one input {IMAGE!r} BYTES of shape [n] or [n, 1]"
        if not inputs:
            raise RefusedError("inputs", f"the request has no inputs; {expected}")
        for tensor in inputs:
            if tensor.name != IMAGE:
                raise RefusedError(
                    "inputs", f"input {shorten(tensor.name)} is not known; {expected}"
                )
        if len(inputs) > 1:
            raise RefusedError("inputs", f"input {IMAGE!r} is given more than once; {expected}")
        _, shape, datatype, data = inputs[0]
        if datatype != "BYTES":
            raise RefusedError(
                "datatype",
                f"input {IMAGE!r} has datatype {shorten(datatype)}; expected BYTES, each element a "
                "PNG or JPEG file",
            )
        if len(shape) not in {1, _NESTED_AXES} or tuple(shape[1:]) not in {(), (1,)}:
            raise RefusedError(
                "shape", f"input {IMAGE!r} has shape {shorten(list(shape))}; expected [n] or [n, 1]"
            )
        self._check_number(shape[0])
        elements = _flatten(data, shape)
        if len(elements) != shape[0]:
            raise RefusedError(
                "shape",
                f"input {IMAGE!r} has shape {list(shape)} but {len(elements)} elements; expected "
                f"{shape[0]}",
            )
        return elements

    def _check_number(self, n_pictures: int) -> None:
        if n_pictures < 1:
            raise RefusedError(
                "rows",
                f"input {IMAGE!r} has {shorten(n_pictures)} pictures; expected at least one",
            )
        if n_pictures > self._max_pictures:
            raise RefusedError(
                "rows",
                f"input {IMAGE!r} has {shorten(n_pictures)} pictures; a request may have at most "
                f"{self._max_pictures}, so send them in parts",
                _TOO_LARGE,
            )


def _pixel_numbers(picture: Picture) -> NDArray[np.float32]:
    """Return the number for each value of a pixel, of shape (n_channels, 256)."""
    black = np.array(picture.black)[:, np.newaxis]
    white = np.array(picture.white)[:, np.newaxis]
    share = np.arange(_N_VALUES) / (_N_VALUES - 1)
    numbers: NDArray[np.float64] = black + (white - black) * share
    return numbers.astype(np.float32)


def _check_bounds(picture: Picture, features: Sequence[Feature]) -> None:
    """Check at once what would otherwise have to be checked of every pixel of every picture."""
    for i, feature in enumerate(features):
        if feature.outside != "refuse":
            continue
        black, white = (ends[i % picture.n_channels] for ends in (picture.black, picture.white))
        low, high = min(black, white), max(black, white)
        if (feature.minimum is not None and low < feature.minimum) or (
            feature.maximum is not None and high > feature.maximum
        ):
            raise ArtifactError(
                f"the schema's feature {feature.name!r} refuses numbers beyond "
                f"[{feature.minimum}, {feature.maximum}], but the pixels of its picture go from "
                f"{low} to {high}; let it count them, or mend black and white"
            )


def _flatten(data: Any, shape: Sequence[int]) -> list[Any]:
    if type(data) is not list:
        raise RefusedError(
            "value", f"the data of input {IMAGE!r} is {shorten(data)}; expected a list"
        )
    if len(shape) == 1 or not any(type(element) is list for element in data):
        return data
    if not all(type(element) is list and len(element) == 1 for element in data):
        raise RefusedError(
            "shape",
            f"input {IMAGE!r} has shape {list(shape)}, but not all its rows are lists of one "
            "element",
        )
    return [element for (element,) in data]


def _to_bytes(element: Any) -> bytes:
    """Return the file that an element holds, or what is in its place."""
    if type(element) is bytes and is_picture_file(element):
        return element
    if type(element) not in {bytes, str}:
        raise RefusedError("value", f"is {shorten(element)}; expected a string: {_BASE64}")
    try:
        content = binascii.a2b_base64(element, strict_mode=True)
    except ValueError as error:
        or_file = "a PNG or JPEG file, or " if type(element) is bytes else ""
        raise RefusedError(
            "value",
            f"is {shorten(element[:_N_SHOWN])}, which is no base64: {error}; expected {or_file}one "
            f"in {_BASE64}",
        ) from error
    if not content:
        raise RefusedError("value", "is empty; expected a PNG or JPEG file")
    return content


def _count_pixels(file: PictureFile, left: int) -> int:
    n_pixels = file.width * file.height
    found = f"has {file.width} x {file.height} pixels"
    if n_pixels == 0:
        raise RefusedError("value", f"is damaged: it {found}")
    if n_pixels > MAX_PIXELS or max(file.width, file.height) > MAX_SIDE:
        raise RefusedError(
            "value",
            f"{found}; expected at most {MAX_PIXELS} in all, such as 4096 x 4096, and {MAX_SIDE} "
            "on a side: resize it",
            _TOO_LARGE,
        )
    if n_pixels > left:
        raise RefusedError(
            "rows",
            f"{found}, and those before it {MAX_TOTAL_PIXELS - left}; a request may have at most "
            f"{MAX_TOTAL_PIXELS} pixels, so send its pictures in parts",
            _TOO_LARGE,
        )
    return n_pixels
