"""A real version of a classifier of pictures, and files of pictures, whole and broken."""

import struct
import zlib
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS
from tests.runtimes.versions import change_json, export, version_files

PIXELS = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
DIGITS = [str(digit) for digit in range(10)]
PICTURE = {"width": 8, "height": 8, "channels": "grey", "black": [0], "white": [16]}
SCHEMA = {"features": [{"name": name} for name in PIXELS], "classes": DIGITS, "picture": PICTURE}


@cache
def train_digits() -> tuple[Pipeline, NDArray[np.float64]]:
    """Return a fitted pipeline, and the pixels, from 0 to 16, of digits that it has not seen."""
    features, classes = load_digits(return_X_y=True)
    fitted, held_out, labels, _ = train_test_split(
        features, classes, test_size=200, random_state=0, stratify=classes
    )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return pipeline.fit(fitted, labels), held_out


@cache
def _digits_onnx() -> bytes:
    return export(train_digits()[0], len(PIXELS))


def digits_files(schema: dict[str, Any] = SCHEMA, **extra: Any) -> dict[str, bytes]:
    """Return the unsealed files of a version; `extra` goes into the model settings' parameters."""
    files = {**version_files(), MODEL_ONNX: _digits_onnx()}
    files = change_json(files, METADATA, model="digits", schema=schema)
    return change_json(
        files,
        MODEL_SETTINGS,
        name="digits",
        implementation="runtimes.image.ImageClassifier",
        parameters={"uri": f"./{MODEL_ONNX}", "version": "v1", "extra": extra},
        inputs=[{"name": "image", "datatype": "BYTES", "shape": [-1, 1]}],
    )


def to_grey(digits: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return pixels from 0 to 16 as those of a picture, from 0 to 255."""
    return np.rint(digits * 255 / 16).astype(np.uint8)


def save(pixels: Any, format_: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """Return a file of `pixels`, converted to `mode` before."""
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    file = BytesIO()
    (image.convert(mode) if mode else image).save(file, format_, **options)
    return file.getvalue()


def digit_file(digit: NDArray[np.float64], format_: str = "PNG", **options: Any) -> bytes:
    return save(to_grey(digit).reshape(8, 8), format_, **options)


def animation(frames: list[Any]) -> bytes:
    first, *others = [Image.fromarray(np.asarray(frame, np.uint8)) for frame in frames]
    file = BytesIO()
    first.save(file, "PNG", save_all=True, append_images=others)
    return file.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def header(width: int, height: int, depth: int = 8, colours: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND")


def drawn(*rows: bytes) -> bytes:
    """Return the chunk that holds the pixels of `rows`."""
    return chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))


def segment(marker: int, data: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def frame(width: int, height: int, marker: int = 0xC0, bits: int = 8) -> bytes:
    return segment(marker, struct.pack(">BHHB", bits, height, width, 1) + b"\1\x11\0")


def with_orientation(jpeg: bytes, orientation: int, order: str = "<") -> bytes:
    """Return the file with EXIF metadata that state an orientation."""
    magic = {"<": b"II*\0", ">": b"MM\0*"}[order]
    entry = struct.pack(f"{order}HHLHH", 0x0112, 3, 1, orientation, 0)
    directory = struct.pack(f"{order}LH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + segment(0xE1, b"Exif\0\0" + magic + directory) + jpeg[2:]
