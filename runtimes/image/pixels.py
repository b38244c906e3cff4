"""From a picture's file to the pixels that a model gets: decode, turn upright, resize.

Whatever a file may hold becomes grey or RGB with 8 bits per channel, in this way:

* alpha, a transparent colour, and a palette with transparent entries: as seen over white;
* 16 bits per channel: the upper 8;
* CMYK: as RGB without a colour profile; colour profiles and gamma are not applied;
* RGB where the model is of grey pictures: luma, 0.299 R + 0.587 G + 0.114 B;
* EXIF's orientation, for JPEG: applied.

Resizing averages the pixels that fall into each new one (and repeats them where there are fewer),
without regard to the proportions. A picture that has the right size already passes unchanged.
Pixels that are missing from a file that is whole otherwise are left to the decoder, which makes
them black or grey.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abserve.schema import Picture
from runtimes.image.files import PictureFile
from runtimes.refusals import RefusedError
from runtimes.texts import shorten

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FIRST_ON_ITS_SIDE = 5
_WIDE_GREY = "I;16"
_WHITE = 255
# libjpeg makes a picture smaller by 2, 4 or 8 while it decodes, in a third of the time. It is left
# at least so many times as large as it is to be, which the eye, at least, cannot tell from resizing
# all of it.
_DRAFT_GAP = 2

_Box = tuple[float, float, float, float]


def prepare_decoders() -> None:
    """Load Pillow's decoders, which would otherwise take their time in the first request."""
    Image.preinit()


def decode(file: PictureFile, picture: Picture) -> NDArray[np.uint8]:
    """Return the pixels of a file, as the model's pictures are.

    Parameters
    ----------
    file : PictureFile
        Its size is known to be one that can be afforded.
    picture : Picture
        What width, height and channels are wanted.

    Returns
    -------
    ndarray of shape (height, width, n_channels), uint8

    Raises
    ------
    RefusedError
        If the file cannot be decoded. The message goes on after words for the picture.
    """
    mode = "L" if picture.channels == "grey" else "RGB"
    size = (picture.width, picture.height)
    if file.orientation >= _FIRST_ON_ITS_SIDE:
        size = size[::-1]
    try:
        with Image.open(BytesIO(file.content), formats=(file.format,)) as image:
            draft = image.draft(mode, (size[0] * _DRAFT_GAP, size[1] * _DRAFT_GAP))
            image.load()
            found = _resize(image, mode, size, draft[1] if draft else None)
    # What Pillow's decoders raise on damaged files has no common ancestor.
    except Exception as error:
        raise RefusedError(
            "value", f"is a {file.format} file that cannot be decoded: {shorten(str(error))}"
        ) from error
    # Turned last, when it is small.
    turn = _TURNS.get(file.orientation)
    if turn is not None:
        found = found.transpose(turn)
    return np.asarray(found, np.uint8).reshape(picture.height, picture.width, picture.n_channels)


def _resize(image: Image.Image, mode: str, size: tuple[int, int], box: _Box | None) -> Image.Image:
    """Return the part of a decoded picture within `box`, or all of it, resized, grey or RGB."""
    if image.mode == _WIDE_GREY:
        image = _narrow(image)
    if image.has_transparency_data:
        seen = image.convert("RGBA").resize(size, Image.Resampling.BOX, box)
        return Image.alpha_composite(Image.new("RGBA", size, "white"), seen).convert(mode)
    if image.mode != mode:
        image = image.convert(mode)
    return image.resize(size, Image.Resampling.BOX, box)


def _narrow(image: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit; Pillow would cut off what is above 255."""
    wide = np.asarray(image)
    grey = (wide >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[wide == transparent] = _WHITE
    return Image.fromarray(grey)
