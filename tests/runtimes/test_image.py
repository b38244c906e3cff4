import asyncio
import base64
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlserver.codecs import Base64Codec
from mlserver.codecs.json import encode_to_json_bytes
from mlserver.errors import MLServerError
from mlserver.repository.load import load_model_settings
from mlserver.types import InferenceRequest
from tritonclient.http import InferenceServerClient, InferInput

from abserve.artifacts import MODEL_SETTINGS
from abserve.errors import ArtifactError
from abserve.schema import Feature, Picture
from runtimes.image import ImageClassifier
from runtimes.image.files import MAX_SCANS, read_file
from runtimes.image.pictures import PictureReader
from runtimes.image.top import TopLabelOutput, TopProbabilityOutput, top_indices
from runtimes.inference import Classified, Tensor
from runtimes.refusals import RefusedError
from runtimes.rest_requests import answer_rest
from tests.runtimes.contract import RuntimeContract
from tests.runtimes.image_versions import (
    DIGITS,
    SCHEMA,
    animation,
    chunk,
    digit_file,
    digits_files,
    drawn,
    frame,
    header,
    png,
    save,
    segment,
    to_grey,
    train_digits,
    with_orientation,
)
from tests.runtimes.versions import write_version

GREY = [[0, 51, 102], [153, 204, 255]]
GREY_FILE = save(GREY)
# Blocks of 8 x 8 pixels of one colour pass through JPEG all but unchanged.
BLOCKS = np.kron(GREY, np.ones((8, 8)))
PHOTO = save(BLOCKS, "JPEG", quality=95)
PROGRESSIVE = save(BLOCKS, "JPEG", quality=95, progressive=True)


def make_runtime(folder: Path) -> ImageClassifier:
    return ImageClassifier(load_model_settings(str(folder / MODEL_SETTINGS)))


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> ImageClassifier:
    loaded = make_runtime(write_version(tmp_path_factory.mktemp("digits") / "v1", digits_files()))
    loaded.ready = asyncio.run(loaded.load())
    return loaded


@pytest.fixture
def request_() -> InferenceRequest:
    return ask(digit_file(train_digits()[1][0]))


def ask(*files: bytes, parameters: Any = None, **fields: Any) -> InferenceRequest:
    """A request as JSON has it."""
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [len(files), 1],
        "data": [base64.b64encode(file).decode() for file in files],
        "parameters": parameters,
    }
    return InferenceRequest.model_validate({"inputs": [tensor], **fields})


def reader(
    width: int = 3, height: int = 2, channels: Any = "grey", black: Any = None, white: Any = None
) -> PictureReader:
    n_channels = 1 if channels == "grey" else 3
    picture = Picture(
        width=width,
        height=height,
        channels=channels,
        black=black or [0] * n_channels,
        white=white or [255] * n_channels,
    )
    names = [f"p{i}" for i in range(width * height * n_channels)]
    return PictureReader(picture, [Feature(name=name) for name in names])


def image(data: Any, shape: Any = (1,), datatype: str = "BYTES", name: str = "image") -> Tensor:
    return Tensor(name, list(shape), datatype, data)


def read(file: bytes, **picture: Any) -> list[float]:
    return reader(**picture).read([image([file])])[0].tolist()


def named(value: Any) -> str:
    """The name of a test's case: files are too long for one."""
    return value if isinstance(value, str) else "case"


def flat(rows: Any) -> list[float]:
    return np.asarray(rows, float).ravel().tolist()


class TestContract(RuntimeContract):
    pass


# What a model answers


async def test_held_out_digits_are_classified_as_the_estimator_does(
    runtime: ImageClassifier,
) -> None:
    pipeline, digits = train_digits()
    response = await runtime.predict(ask(*map(digit_file, digits)))
    outputs = {output.name: output for output in response.outputs}
    labels = [label.decode() for label in outputs["label"].data.root]
    assert labels == [DIGITS[index] for index in pipeline.predict(digits)]
    probability = np.reshape(outputs["probability"].data.root, (200, 10))
    rounded = to_grey(digits) * (16 / 255)
    assert probability == pytest.approx(pipeline.predict_proba(rounded), abs=1e-5)


async def test_a_jpeg_of_high_quality_is_classified_as_a_png(runtime: ImageClassifier) -> None:
    """One digit of 200, on the edge of two classes, was measured to differ; 3 may."""
    pipeline, digits = train_digits()
    files = [digit_file(digit, "JPEG", quality=95) for digit in digits]
    response = await runtime.predict(ask(*files))
    indices = np.array(response.outputs[1].data.root)
    assert (indices != pipeline.predict(digits)).sum() <= 3


async def test_the_most_probable_classes_come_first(
    runtime: ImageClassifier, request_: InferenceRequest
) -> None:
    outputs = {output.name: output for output in (await runtime.predict(request_)).outputs}
    probability = outputs["probability"].data.root
    labels = [label.decode() for label in outputs["top_label"].data.root]
    assert outputs["top_label"].shape == outputs["top_probability"].shape == [1, 5]
    assert outputs["top_probability"].data.root == sorted(probability, reverse=True)[:5]
    assert [probability[DIGITS.index(label)] for label in labels] == sorted(probability)[:-6:-1]


def test_equal_probabilities_come_in_the_order_of_the_classes() -> None:
    probability = np.array([[0.2, 0.3, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]], np.float32)
    assert top_indices(probability, 3).tolist() == [[1, 3, 0], [0, 1, 2]]


def test_the_top_outputs_say_the_same_in_every_form() -> None:
    probability = np.array([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]], np.float32)
    result = Classified(np.array([1, 0]), probability)
    label, share = TopLabelOutput(["a", "b", "ç"], 2), TopProbabilityOutput(2)
    assert label.values(result) == [b"b", b"a", b"a", b"b"]
    assert orjson.loads(label.data(result)) == ["b", "a", "a", "b"]
    assert label.raw(result) == b"\1\0\0\0b\1\0\0\0a\1\0\0\0a\1\0\0\0b"
    assert share.values(result) == orjson.loads(share.data(result)) == [0.5, 0.25, 0.75, 0.125]
    assert share.raw(result) == struct.pack("<4f", 0.5, 0.25, 0.75, 0.125)
    assert orjson.loads(label.json(result))["shape"] == [2, 2]


async def test_metadata_say_what_the_pictures_are(runtime: ImageClassifier) -> None:
    tensor = (await runtime.metadata()).inputs[0]
    assert (tensor.name, tensor.datatype, tensor.shape) == ("image", "BYTES", [-1, 1])
    assert tensor.parameters.model_dump(exclude_none=True) == {
        "content_type": "base64",
        "width": 8,
        "height": 8,
        "channels": "grey",
    }


# The forms a request has


@pytest.mark.parametrize("parameters", [None, {"content_type": "base64"}])
def test_a_request_in_json_holds_base64(runtime: ImageClassifier, parameters: Any) -> None:
    pipeline, digits = train_digits()
    request = ask(digit_file(digits[0]), digit_file(digits[1]), parameters=parameters)
    answer = answer_rest(runtime, request.model_dump_json(exclude_none=True).encode(), None)
    outputs = {output["name"]: output for output in json.loads(answer.body)["outputs"]}
    assert outputs["class_index"]["data"] == pipeline.predict(digits[:2]).tolist()
    assert outputs["top_label"]["shape"] == outputs["top_probability"]["shape"] == [2, 5]


def test_a_request_in_binary_holds_the_file_itself(runtime: ImageClassifier) -> None:
    pipeline, digits = train_digits()
    tensor = InferInput("image", [2, 1], "BYTES")
    files = [[digit_file(digits[0])], [digit_file(digits[1], "JPEG", quality=95)]]
    tensor.set_data_from_numpy(np.array(files, object))
    body, header_length = InferenceServerClient.generate_request_body([tensor])
    answer = answer_rest(runtime, body, str(header_length).encode())
    result = InferenceServerClient.parse_response_body(
        answer.body, header_length=answer.header_length
    )
    assert result.as_numpy("class_index").ravel().tolist() == pipeline.predict(digits[:2]).tolist()
    assert result.as_numpy("top_label").shape == (2, 5)


@pytest.mark.parametrize("content_type", ["np", "str", "pillow_image"])
async def test_another_content_type_is_refused(runtime: ImageClassifier, content_type: str) -> None:
    request = ask(GREY_FILE, parameters={"content_type": content_type})
    with pytest.raises(MLServerError, match="expected none, or base64"):
        await runtime.predict(request)


async def test_what_mlservers_codec_encodes_is_read(runtime: ImageClassifier) -> None:
    pipeline, digits = train_digits()
    tensor = Base64Codec.encode_input("image", [digit_file(digit) for digit in digits[:2]])
    response = await runtime.predict(InferenceRequest(inputs=[tensor]))
    assert response.outputs[1].data.root == pipeline.predict(digits[:2]).tolist()


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([GREY_FILE], (1,)),
        ([GREY_FILE], (1, 1)),
        ([[GREY_FILE]], (1, 1)),
        ([base64.b64encode(GREY_FILE)], (1,)),
        ([base64.b64encode(GREY_FILE).decode()], (1,)),
        ([[base64.b64encode(GREY_FILE).decode()]], (1, 1)),
    ],
    ids=named,
)
def test_an_element_is_a_file_or_base64_of_one(data: Any, shape: Any) -> None:
    assert reader().read([image(data, shape)]).tolist() == [flat(GREY)]


def test_pictures_keep_their_order() -> None:
    rows = reader().read([image([save(np.full((2, 3), grey)) for grey in (9, 7, 8)], (3, 1))])
    assert rows[:, 0].tolist() == [9, 7, 8]


# From files to numbers


def test_a_picture_of_the_right_size_passes_unchanged() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    assert read(save(grey), width=8, height=8) == flat(grey)
    colours = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    assert read(save(colours), width=8, height=8, channels="rgb") == flat(colours)


def test_a_pixel_goes_linearly_from_black_to_white() -> None:
    found = reader(black=[-1], white=[4]).read([image([GREY_FILE])])
    assert found.dtype == np.float32
    assert found.tolist() == [pytest.approx([-1, 0, 1, 2, 3, 4], abs=1e-6)]
    assert read(GREY_FILE, black=[16], white=[0])[0] == 16
    assert read(GREY_FILE, black=[16], white=[0])[-1] == 0


def test_every_channel_has_black_and_white_of_its_own() -> None:
    file = save([[[0, 51, 255], [255, 102, 0]]])
    found = read(file, width=2, height=1, channels="rgb", black=[0, 0, -2], white=[1, 5, 2])
    assert found == pytest.approx([0, 1, 2, 1, 2, -2], abs=1e-6)


def test_a_larger_picture_is_averaged_and_a_smaller_one_repeated() -> None:
    assert read(save([[10, 20], [30, 40]]), width=1, height=1) == [25]
    assert read(save([[10, 20]]), width=4, height=2) == [10, 10, 20, 20] * 2


def test_a_large_jpeg_is_averaged_as_a_png_is() -> None:
    pixels = np.add.outer(np.arange(600) // 4, np.arange(800) // 8).astype(np.uint8)
    as_png = read(save(pixels), width=8, height=6)
    assert read(save(pixels, "JPEG"), width=8, height=6) == pytest.approx(as_png, abs=2)


@pytest.mark.parametrize("channels", ["grey", "rgb"])
@pytest.mark.parametrize(
    "file", [PHOTO, PROGRESSIVE, save(BLOCKS, "JPEG", "RGB", quality=95)], ids=named
)
def test_a_jpeg_is_read(file: bytes, channels: str) -> None:
    repeats = 1 if channels == "grey" else 3
    assert read(file, channels=channels) == pytest.approx(
        np.repeat(flat(GREY), repeats).tolist(), abs=3
    )


def test_grey_of_colours_is_their_luma() -> None:
    file = save([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    assert read(file, width=3, height=1) == pytest.approx([76, 150, 29], abs=1)


def test_cmyk_is_read_without_its_inks() -> None:
    file = save(np.full((8, 8, 3), 255), "JPEG", "CMYK", quality=95)
    assert read(file, width=1, height=1, channels="rgb") == [255, 255, 255]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        # alpha: opaque, half, none
        (save([[[10, 255], [0, 128], [10, 0]]]), [10, 127, 255]),
        (save([[[10, 10, 10, 255], [0, 0, 0, 128], [10, 10, 10, 0]]]), [10, 127, 255]),
        # a transparent colour, at every depth there is
        (png(header(3, 1, 1), chunk(b"tRNS", b"\0\0"), drawn(b"\x40")), [255, 255, 255]),
        (png(header(3, 1, 2), chunk(b"tRNS", b"\0\2"), drawn(b"\x18")), [0, 85, 255]),
        (png(header(3, 1, 4), chunk(b"tRNS", b"\0\3"), drawn(b"\x12\x30")), [17, 34, 255]),
        (png(header(3, 1, 8), chunk(b"tRNS", b"\0\3"), drawn(b"\1\2\3")), [1, 2, 255]),
        (
            png(header(3, 1, 16), chunk(b"tRNS", b"\3\3"), drawn(b"\1\3\2\3\3\3")),
            [1, 2, 255],
        ),
        (
            png(
                header(3, 1, 8, 2),
                chunk(b"tRNS", b"\0\3\0\3\0\3"),
                drawn(bytes([1, 1, 1, 2, 2, 2, 3, 3, 3])),
            ),
            [1, 2, 255],
        ),
        # the same without one
        (png(header(3, 1, 1), drawn(b"\x40")), [0, 255, 0]),
        (png(header(3, 1, 2), drawn(b"\x18")), [0, 85, 170]),
        (png(header(3, 1, 16), drawn(b"\1\3\2\3\xff\xff")), [1, 2, 255]),
        (png(header(3, 1, 16, 2), drawn(bytes([1, 9, 1, 9, 1, 9] * 3))), [1, 1, 1]),
        (png(header(3, 1, 16, 4), drawn(bytes([1, 9, 255, 255] * 3))), [1, 1, 1]),
        # a palette, with a transparent entry and without
        (
            png(
                header(3, 1, 8, 3),
                chunk(b"PLTE", bytes([1, 1, 1, 2, 2, 2])),
                chunk(b"tRNS", b"\0"),
                drawn(b"\1\0\1"),
            ),
            [2, 255, 2],
        ),
        (
            png(
                header(3, 1, 8, 3),
                chunk(b"PLTE", bytes([1, 1, 1, 2, 2, 2])),
                chunk(b"tRNS", b"\x80\x80"),
                drawn(b"\1\0\1"),
            ),
            [128, 128, 128],
        ),
        (
            png(header(3, 1, 1, 3), chunk(b"PLTE", bytes([1, 1, 1, 2, 2, 2])), drawn(b"\x40")),
            [1, 2, 1],
        ),
    ],
    ids=named,
)
def test_every_kind_of_png_is_seen_over_white(file: bytes, expected: list[float]) -> None:
    assert read(file, width=3, height=1) == pytest.approx(expected, abs=1)
    threefold = np.repeat(expected, 3).tolist()
    assert read(file, width=3, height=1, channels="rgb") == pytest.approx(threefold, abs=1)


def test_transparent_pixels_do_not_colour_those_beside_them() -> None:
    file = save([[[200, 0], [0, 255]]])
    assert read(file, width=1, height=1) == pytest.approx([127], abs=1)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, [[0, 51, 102], [153, 204, 255]]),
        (2, [[102, 51, 0], [255, 204, 153]]),
        (3, [[255, 204, 153], [102, 51, 0]]),
        (4, [[153, 204, 255], [0, 51, 102]]),
        (5, [[0, 153], [51, 204], [102, 255]]),
        (6, [[153, 0], [204, 51], [255, 102]]),
        (7, [[255, 102], [204, 51], [153, 0]]),
        (8, [[102, 255], [51, 204], [0, 153]]),
        (0, [[0, 51, 102], [153, 204, 255]]),
        (9, [[0, 51, 102], [153, 204, 255]]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_jpeg_is_turned_upright(orientation: int, order: str, upright: Any) -> None:
    file = with_orientation(PHOTO, orientation, order)
    height, width = np.shape(upright)
    assert read(file, width=width, height=height) == pytest.approx(flat(upright), abs=3)


@pytest.mark.parametrize(
    "exif",
    [b"", b"II*\0", b"XX*\0" + bytes(20), b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"],
)
def test_metadata_that_cannot_be_read_are_no_fault(exif: bytes) -> None:
    file = PHOTO[:2] + segment(0xE1, b"Exif\0\0" + exif) + PHOTO[2:]
    assert read(file) == pytest.approx(flat(GREY), abs=3)


@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xE2, 0xEE, 0xFE])
def test_segments_without_sense_are_no_fault(marker: int) -> None:
    file = PHOTO[:2] + segment(marker, b"MPF\0" + bytes(9)) + PHOTO[2:]
    assert read(file) == pytest.approx(flat(GREY), abs=3)


def test_what_follows_a_picture_is_ignored() -> None:
    assert read(GREY_FILE + b"x") == flat(GREY)
    assert read(PHOTO + with_orientation(PHOTO, 3)) == pytest.approx(flat(GREY), abs=3)


def test_of_an_animation_the_first_picture_counts() -> None:
    file = animation([np.full((2, 3), grey) for grey in (10, 20, 30)])
    assert b"acTL" in file
    assert read(file) == [10] * 6


def test_texts_profiles_and_thumbnails_never_reach_the_decoder() -> None:
    text = chunk(b"zTXt", b"a\0\0" + b"x" * 100)
    file = png(header(3, 2), text, chunk(b"acTL", b"x"), drawn(*map(bytes, GREY)), text)
    assert read_file(file).content == png(header(3, 2), drawn(*map(bytes, GREY)))
    thumbnail = segment(0xE1, b"Exif\0\0" + PHOTO) + segment(0xFE, b"x")
    assert read_file(PHOTO[:2] + thumbnail + PHOTO[2:]).content == PHOTO


# What is refused


GIF = b"GIF89a" + bytes(20)
WHOLE = drawn(*map(bytes, GREY))


def break_checksum(file: bytes, kind: bytes) -> bytes:
    """Return the file with a byte of the chunk's content changed."""
    at = file.index(kind) + 4
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        # names, datatypes, shapes
        ([], "the request has no inputs; expected one input 'image' BYTES of shape"),
        ([image([GREY_FILE], name="x")], "input 'x' is not known; expected one input 'image'"),
        ([image([GREY_FILE], name="a\r\nb")], r"input 'a\\r\\nb' is not known"),
        ([image([GREY_FILE]), image([GREY_FILE], name="x")], "input 'x' is not known"),
        ([image([GREY_FILE])] * 2, "input 'image' is given more than once"),
        ([image([0.5], datatype="FP32")], "has datatype 'FP32'; expected BYTES"),
        ([image([GREY_FILE], ())], r"has shape \[\]; expected \[n\] or \[n, 1\]"),
        ([image([GREY_FILE], (1, 2))], r"has shape \[1, 2\]; expected"),
        ([image([GREY_FILE], (1, 1, 1))], r"has shape \[1, 1, 1\]; expected"),
        ([image([GREY_FILE], [1] * 10_000)], r"has shape \[1, 1, .*\.\.\.; expected"),
        ([image([], (0,))], "has 0 pictures; expected at least one"),
        ([image([GREY_FILE], (-1, 1))], "has -1 pictures; expected at least one"),
        ([image([GREY_FILE], (2,))], r"has shape \[2\] but 1 elements; expected 2"),
        ([image([GREY_FILE] * 2, (1, 1))], "but 2 elements; expected 1"),
        ([image([[GREY_FILE, GREY_FILE]], (1, 1))], "not all its rows are lists of one element"),
        ([image([GREY_FILE, [GREY_FILE]], (2, 1))], "not all its rows are lists of one element"),
        ([image([[]], (1, 1))], "not all its rows are lists of one element"),
        # data and elements that are something else
        ([image(None)], "data of input 'image' is None; expected a list"),
        ([image("x" * 10_000)], r"is 'x{59}\.\.\.; expected a list"),
        ([image(GREY_FILE)], r"data of input 'image' is b'\\x89PNG.*; expected a list"),
        ([image([[GREY_FILE]])], r"picture 0 .* is \[b'.*\.\.\.; expected a string"),
        ([image([None])], "picture 0 .* is None; expected a string"),
        ([image([5])], "picture 0 .* is 5; expected a string"),
        ([image([True])], "picture 0 .* is True; expected a string"),
        ([image([{"b64": "x"}])], "picture 0 .* is {'b64': 'x'}; expected a string"),
        ([image([GREY_FILE, 5], (2,))], "picture 1 .* is 5"),
        # base64
        ([image([""])], "picture 0 .* is empty"),
        ([image([b""])], "picture 0 .* is empty"),
        ([image(["iVBORw0KGg"])], "no base64: Incorrect padding"),
        ([image(["iVBORw0KGgo=\n"])], "no base64: .*; expected one in standard base64"),
        (
            [image(["data:image/png;base64,iVBORw0KGgo="])],
            "is 'data:.* no base64: .*'data:' before",
        ),
        ([image(["iVBO-_=="])], "no base64: Only base64 data is allowed"),
        ([image(["===="])], "no base64"),
        ([image(["\u00e9"])], r"is '\\xe9', which is no base64: .*ASCII"),
        ([image(["\ud800"])], r"is '\\ud800', which is no base64"),
        ([image([GIF])], "is b'GIF89a.* no base64: .*; expected a PNG or JPEG file, or one in"),
        ([image([base64.b64encode(GIF).decode()])], "no PNG or JPEG file: it begins with b'GIF89a"),
        ([image([base64.b64encode(b"<svg/>")])], "no PNG or JPEG file: it begins with b'<svg/>'"),
    ],
    ids=named,
)
def test_bad_input_is_refused_with_its_reason(inputs: list[Tensor], message: str) -> None:
    check_refused(lambda: reader().read(inputs), message)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        # PNG
        (GREY_FILE[:8], "is cut short: its 8 bytes are not all of the file"),
        (GREY_FILE[:40], "is cut short: its 40 bytes"),
        (GREY_FILE[:-1], "is cut short"),
        (GREY_FILE[:-12], "is cut short"),
        (break_checksum(GREY_FILE, b"IHDR"), "the checksum of its chunk b'IHDR' is wrong"),
        (break_checksum(GREY_FILE, b"IDAT"), "the checksum of its chunk b'IDAT' is wrong"),
        (png(), "begins with the chunk b'IEND' instead of IHDR"),
        (png(WHOLE, header(3, 2)), "begins with the chunk b'IDAT' instead of IHDR"),
        (png(chunk(b"tEXt", b"a"), header(3, 2), WHOLE), "begins with the chunk b'tEXt'"),
        (png(header(3, 2), header(9999, 9999), WHOLE), "has two chunks IHDR"),
        (png(header(3, 2), chunk(b"CgBI"), WHOLE), "a chunk b'CgBI', without which it cannot be"),
        (png(header(3, 2), chunk(b"\r\n\0\xdf"), WHOLE), r"has a chunk b'\\r\\n\\x00\\xdf'"),
        (png(chunk(b"IHDR", b"\0" * 5), WHOLE), "IHDR or tRNS has another length"),
        (png(header(3, 2, 4), chunk(b"tRNS", b"\0"), WHOLE), "IHDR or tRNS has another length"),
        (png(header(3, 2, 8), chunk(b"tRNS", b"\0"), WHOLE), "cannot be decoded"),
        (png(header(3, 2)), "is a PNG file that cannot be decoded"),
        (png(header(3, 2), WHOLE, header(3, 2)), "has two chunks IHDR"),
        (
            png(header(3, 2), chunk(b"IDAT", WHOLE[8:-12])),
            "cannot be decoded: 'image file is trunc",
        ),
        (png(header(3, 2), chunk(b"IDAT", b"x")), "is a PNG file that cannot be decoded"),
        (png(header(3, 2, 3), WHOLE), "is a PNG file that cannot be decoded"),
        (png(header(3, 2, 0), chunk(b"tRNS", b"\0\0"), WHOLE), "cannot be decoded"),
        (png(header(3, 2, 8, 3), WHOLE), "is a PNG file that cannot be decoded"),
        (png(header(0, 2), WHOLE), "is damaged: it has 0 x 2 pixels"),
        (
            png(header(1, 1, 16, 2), chunk(b"tRNS", bytes(6)), drawn(bytes(6))),
            "16 bits per sample with a transparent colour, which is not read",
        ),
        # JPEG
        (PHOTO[:3], "is cut short: its 3 bytes"),
        (PHOTO[:30], "is cut short"),
        (PHOTO[:-2], "is cut short"),
        (PHOTO[: len(PHOTO) // 2], "is cut short"),
        (PHOTO[:2] + b"\xff" * 50, "is cut short"),
        (PHOTO[:2] + b"\xff\0" + PHOTO[2:], "is damaged: there is no marker at byte 2"),
        (PHOTO[:2] + b"\xffx" + PHOTO[2:], "is cut short"),
        (PHOTO[:20] + b"junk" + PHOTO[20:], "is damaged: there is no marker at byte 20"),
        (PHOTO[:2] + b"\xff\xe1\0\1" + PHOTO[2:], "the segment at byte 2 has length 1"),
        (PHOTO[:2] + b"\xff\xd9" + PHOTO[2:], "marker 0xFFD9 at byte 2 stands before the pixels"),
        (PHOTO[:2] + frame(24, 16) + PHOTO[2:], "it has two frame headers"),
        (PHOTO[:2] + segment(0xC0, b"\x08") + PHOTO[2:], "its frame header is too short"),
        (PHOTO[:2] + segment(0xDA, bytes(10)) + PHOTO[2:], "it has no frame header"),
        (PHOTO[:2] + frame(24, 16, 0xC3) + PHOTO[2:], "of the kind SOF3, which is not read"),
        (PHOTO[:2] + frame(24, 16, 0xC9) + PHOTO[2:], "of the kind SOF9, which is not read"),
        (PHOTO[:2] + frame(24, 16, bits=12) + PHOTO[2:], "of 12 bits per sample; expected 8"),
        (PHOTO[:2] + segment(0xE1) * 1000 + PHOTO[2:], "more than 1000 segments before"),
        (PHOTO.replace(frame(24, 16), frame(24, 0)), "is damaged: it has 24 x 0 pixels"),
        (PHOTO.replace(frame(24, 16), frame(24, 16)[:-1] + b"\3"), "JPEG file that cannot be dec"),
    ],
    ids=named,
)
def test_a_broken_file_is_refused_with_its_reason(file: bytes, message: str) -> None:
    check_refused(lambda: read(file), rf"picture 0 \(from 0\) of input 'image' .*({message})")


@pytest.mark.parametrize("size", [(4097, 4096), (50_000, 50_000), (1, 2**31 - 1), (16_385, 1)])
def test_a_png_of_too_many_pixels_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    file = png(header(*size), chunk(b"IDAT", b"never read"))
    message = f"picture 0 .* has {size[0]} x {size[1]} pixels; expected at most 16777216 in all"
    check_refused(lambda: read(file), message, 413)


def test_a_jpeg_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    file = PHOTO.replace(frame(24, 16), frame(65_535, 65_535))
    check_refused(lambda: read(file), "has 65535 x 65535 pixels; expected at most", 413)


def test_too_many_pixels_in_all_are_refused() -> None:
    file = save(np.zeros((4096, 4096), np.uint8))
    message = "picture 2 .* has 1 x 1 pixels, and those before it 33554432; a request may have at m"
    check_refused(lambda: reader().read([image([file, file, save([[0]])], (3,))]), message, 413)


@pytest.mark.parametrize(("size", "limit"), [(8, 256), (512, 128), (4096, 2)])
def test_too_many_pictures_are_refused_before_they_are_read(size: int, limit: int) -> None:
    picture = Picture(width=size, height=size, channels="grey")
    full = PictureReader(picture, [])
    message = f"has {limit + 1} pictures; a request may have at most {limit}, so send them in parts"
    check_refused(lambda: full.read([image([], (limit + 1, 1))]), message, 413)
    check_refused(lambda: full.read([image([], (2**62,))]), "at most", 413)


async def test_a_request_may_have_256_pictures(runtime: ImageClassifier) -> None:
    response = await runtime.predict(ask(*[digit_file(train_digits()[1][0])] * 256))
    assert response.outputs[0].shape == [256, 1]


def test_a_jpeg_that_is_drawn_in_many_passes_is_refused() -> None:
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    n_scans = PROGRESSIVE.count(b"\xff\xda")
    most = PROGRESSIVE[:-2] + last * (MAX_SCANS - n_scans) + PROGRESSIVE[-2:]
    assert read(most) == pytest.approx(flat(GREY), abs=10)
    many = most[:-2] + last + most[-2:]
    check_refused(lambda: read(many), f"is a JPEG file of {MAX_SCANS + 1} scans; expected at most")


WHOLE_FILES = [
    GREY_FILE,
    save(np.arange(48).reshape(4, 4, 3) * 5),
    save(np.arange(16).reshape(2, 2, 4) * 15),
    save(np.arange(16).reshape(4, 4) * 16, mode="P"),
    save(np.arange(16).reshape(4, 4) * 16, mode="1"),
    animation([np.full((2, 3), grey) for grey in (10, 20)]),
    PHOTO,
    PROGRESSIVE,
    with_orientation(PHOTO, 6),
    save(np.full((8, 8, 3), 99), "JPEG", "CMYK"),
]
MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["change", "cut", "insert", "repeat"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=6,
)


def mutate(content: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    for kind, share, data in mutations:
        at = int(share * len(content))
        before, after = content[:at], content[at:]
        content = {
            "change": before + data + after[len(data) :],
            "cut": before + after[len(data) :],
            "insert": before + data + after,
            "repeat": before + after[: 10 * len(data)] + after,
        }[kind]
    return content


def with_checksums(file: bytes) -> bytes:
    """Return a PNG file with the lengths and checksums that its chunks' content has."""
    kinds = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    starts = sorted(at for kind in kinds if (at := file.find(kind)) > 0)
    chunks = [file[start : end - 8] for start, end in pairwise([*starts, len(file) + 8])]
    return file[:8] + b"".join(chunk(each[:4], each[4:]) for each in chunks)


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(WHOLE_FILES), MUTATIONS, st.booleans(), st.sampled_from(["grey", "rgb"]))
def test_whatever_the_bytes_are_they_are_read_or_refused(
    whole: bytes, mutations: list[tuple[str, float, bytes]], mended: bool, channels: str
) -> None:
    file = mutate(whole, mutations)
    if mended and file.startswith(GREY_FILE[:8]):
        file = with_checksums(file)
    with suppress(RefusedError):
        row = read(file, channels=channels)
        assert len(row) == (6 if channels == "grey" else 18)
        assert 0 <= min(row) <= max(row) <= 255


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.one_of(st.binary(max_size=100), st.text(max_size=100)))
def test_whatever_an_element_is_it_is_refused(element: bytes | str) -> None:
    with pytest.raises(RefusedError, match="picture 0"):
        reader().read([image([element])])


def check_refused(answer: Callable[[], Any], message: str, status_code: int = 400) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        answer()
    assert caught.value.status_code == status_code
    encode_to_json_bytes({"error": str(caught.value)})
    assert len(str(caught.value)) < 500


# Versions that do not fit


async def test_a_version_without_a_picture_is_not_loaded(tmp_path: Path) -> None:
    files = digits_files({key: SCHEMA[key] for key in ("features", "classes")})
    with pytest.raises(ArtifactError, match="has no picture in its metadata's schema, so its feat"):
        await make_runtime(write_version(tmp_path / "v1", files)).load()


async def test_a_version_without_classes_is_not_loaded(tmp_path: Path) -> None:
    files = digits_files({key: SCHEMA[key] for key in ("features", "picture")})
    with pytest.raises(ArtifactError, match="names no classes, so it holds a regressor"):
        await make_runtime(write_version(tmp_path / "v1", files)).load()


@pytest.mark.parametrize("k", [1, 10])
async def test_model_settings_say_how_many_classes_are_answered(tmp_path: Path, k: int) -> None:
    loaded = make_runtime(write_version(tmp_path / "v1", digits_files(top_k=k)))
    await loaded.load()
    shapes = {output.name: output.shape for output in (await loaded.metadata()).outputs}
    assert shapes["top_label"] == shapes["top_probability"] == [-1, k]


@pytest.mark.parametrize("k", [0, 11, -1, 2.0, "3", True, None, [1]])
async def test_settings_that_ask_for_no_number_of_classes_are_refused(
    tmp_path: Path, k: Any
) -> None:
    message = r"parameters\.extra\.top_k .*; expected a whole number from 1 to 10"
    with pytest.raises(ArtifactError, match=message):
        await make_runtime(write_version(tmp_path / "v1", digits_files(top_k=k))).load()


def test_features_that_would_refuse_pixels_are_refused_at_once() -> None:
    picture = Picture(width=1, height=2, channels="grey", black=(16,), white=(0,))
    within = Feature(name="a", minimum=0, maximum=16, outside="refuse")
    beyond = Feature(name="b", minimum=0, maximum=15, outside="refuse")
    PictureReader(picture, [within, within])
    with pytest.raises(
        ArtifactError, match=r"'b' refuses numbers beyond \[0\.0, 15\.0\], but the p"
    ):
        PictureReader(picture, [within, beyond])


async def test_reading_the_settings_again_gives_the_same_class(tmp_path: Path) -> None:
    found = make_runtime(write_version(tmp_path / "v1", digits_files())).settings
    assert found.implementation is found.implementation is ImageClassifier
