"""PNG and JPEG files, cut down to what their pixels need before a decoder sees them.

::

    bytes ──> PictureFile: format, size in pixels, orientation, what is left of the file
                                                                   │
                                                       pixels.py: Pillow

A file says how many pixels it has long before they come, and carries much else: texts, thumbnails,
colour profiles, more pictures, some of it packed, and all of it read by whoever decodes it. So the
file's parts are walked through here, nothing being unpacked; a small file that says it is large, or
that keeps a decoder busy for minutes, is refused before anything is decoded, and what is not needed
to draw the picture never reaches the decoder.
"""

import re
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple, NoReturn
from zlib import crc32

from runtimes.refusals import RefusedError
from runtimes.texts import shorten

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"

# A JPEG may be drawn in many passes over all of its pixels, each for a few bytes. Encoders make
# about ten.
MAX_SCANS = 32
# Before the first scan; encoders write fewer than twenty, and long metadata some hundred.
MAX_SEGMENTS = 1000

_SHOWN_BYTES = 8

# PNG: a chunk is its length, its kind, its content, and the CRC of kind and content.
_CHUNK_EXTRA = 12
_ANCILLARY = 0x20
_ONCE = (b"IHDR", b"PLTE", b"tRNS")
_GREY, _RGB, _INDEXED = 0, 2, 3
_WIDE_SAMPLE = 16

# JPEG markers, without the 0xFF before them.
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SOI, _EOI, _SOS, _DHT, _DAC, _DQT, _DRI = 0xD8, 0xD9, 0xDA, 0xC4, 0xCC, 0xDB, 0xDD
_JFIF, _APP1, _ADOBE = 0xE0, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {_DHT, _DAC}
# Huffman-coded: baseline, extended, progressive. Nobody sends the others, and few can read them.
_READ_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8), _SOI, _EOI})
_NEEDED = frozenset({_DHT, _DQT, _DRI, _JFIF, _ADOBE})
_SAMPLE_BITS = 8
_EXIF = b"Exif\0\0"
_ORIENTATION, _SHORT = 0x0112, 3
_UPRIGHT, _N_ORIENTATIONS = 1, 8


class PictureFile(NamedTuple):
    """A picture, not decoded yet.

    `width` and `height` are the stored pixels'; `orientation` is EXIF's, 1 to 8, and says how to
    turn them to see the picture upright. `content` is the file without what its pixels do not need.
    """

    format: Literal["PNG", "JPEG"]
    width: int
    height: int
    orientation: int
    content: bytes


def is_picture_file(content: bytes) -> bool:
    """Return whether the first bytes are those of a PNG or a JPEG file."""
    return content.startswith((PNG_MAGIC, JPEG_MAGIC))


def read_file(content: bytes) -> PictureFile:
    """Return what a file says of its picture, and what is needed of it.

    Raises
    ------
    RefusedError
        If the file is no PNG or JPEG, or not a whole one. The message goes on after words for the
        picture, such as "picture 0".
    """
    if content.startswith(PNG_MAGIC):
        return _read_png(content)
    if content.startswith(JPEG_MAGIC):
        return _read_jpeg(content)
    raise RefusedError(
        "value",
        f"is no PNG or JPEG file: it begins with {shorten(content[:_SHOWN_BYTES])}; expected one "
        "of these formats",
    )


def _read_png(content: bytes) -> PictureFile:
    # Without the chunks that animate it, an animated PNG is the picture that programs show which
    # know no animations.
    once: dict[bytes, bytes] = {}
    pixels = bytearray()
    for kind, data in _chunks(content):
        if not once and kind != b"IHDR":
            _refuse_damaged(f"it begins with the chunk {shorten(kind)} instead of IHDR")
        if kind == b"IDAT":
            pixels += data
        elif kind in once:
            _refuse_damaged(f"it has two chunks {kind.decode()}")
        elif kind in _ONCE:
            once[kind] = bytes(data)
        elif not kind[0] & _ANCILLARY and kind != b"IEND":
            _refuse_damaged(f"it has a chunk {shorten(kind)}, without which it cannot be read")
    try:
        width, height, depth, colours = struct.unpack_from(">IIBB", once[b"IHDR"])
        transparency = _transparency(once.pop(b"tRNS", b""), depth, colours)
    except struct.error:
        _refuse_damaged("its chunk IHDR or tRNS has another length than it must")
    chunks = [*once.items()]
    if transparency:
        chunks.append((b"tRNS", transparency))
    chunks += [(b"IDAT", bytes(pixels)), (b"IEND", b"")]
    needed = PNG_MAGIC + b"".join([_chunk(kind, data) for kind, data in chunks])
    return PictureFile("PNG", width, height, _UPRIGHT, needed)


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the content of each chunk; the checksums of those we need are right."""
    view = memoryview(content)
    at = len(PNG_MAGIC)
    kind = b""
    while kind != b"IEND":
        end = at + _CHUNK_EXTRA + int.from_bytes(view[at : at + 4], "big")
        if end > len(content):
            _refuse_cut_short(content)
        kind = content[at + 4 : at + 8]
        if not kind[0] & _ANCILLARY or kind in _ONCE:
            checksum = int.from_bytes(view[end - 4 : end], "big")
            if crc32(view[at + 4 : end - 4]) != checksum:
                _refuse_damaged(f"the checksum of its chunk {shorten(kind)} is wrong")
        yield kind, view[at + 8 : end - 4]
        at = end


def _transparency(data: bytes, depth: int, colours: int) -> bytes:
    """Return what names the transparent colours, as Pillow takes it.

    Pillow compares a transparent grey, meant for samples of `depth` bits, with the 8 bits that it
    has made of them.
    """
    if not data or colours not in {_GREY, _RGB, _INDEXED}:
        return b""
    if colours == _GREY and depth in {1, 2, 4}:
        (grey,) = struct.unpack(">H", data)
        white = 2**depth - 1
        return struct.pack(">H", (grey & white) * 255 // white)
    if colours == _RGB and depth == _WIDE_SAMPLE:
        raise RefusedError(
            "value",
            "is a PNG of 16 bits per sample with a transparent colour, which is not read; expected "
            "an alpha channel, or 8 bits per sample",
        )
    return data


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"%b%b%b%b" % (
        len(data).to_bytes(4, "big"),
        kind,
        data,
        crc32(data, crc32(kind)).to_bytes(4, "big"),
    )


def _read_jpeg(content: bytes) -> PictureFile:
    needed = [content[:2]]
    size: tuple[int, int] | None = None
    orientation: int | None = None
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker, start, end = _segment(content, at)
        if marker == _SOS:
            break
        if marker in _FRAMES:
            if size is not None:
                _refuse_damaged("it has two frame headers")
            size = _frame_size(marker, content[start + 2 : end])
        if marker in _FRAMES or marker in _NEEDED:
            needed.append(b"\xff%c%b" % (marker, content[start:end]))
        elif marker == _APP1 and orientation is None:
            orientation = _orientation(content[start + 2 : end])
        at = end
    else:
        raise RefusedError(
            "value",
            f"is a JPEG file with more than {MAX_SEGMENTS} segments before its pixels; save it "
            "without metadata",
        )
    if size is None:
        _refuse_damaged("it has no frame header")
    # In a scan 0xFF stands before a marker only. What follows the end, such as further pictures, is
    # cut off, so that the decoder sees the scans that are counted here, and no others.
    scans, end_marker, _ = content[at:].partition(b"\xff\xd9")
    if not end_marker:
        _refuse_cut_short(content)
    if (n_scans := scans.count(b"\xff\xda")) > MAX_SCANS:
        raise RefusedError(
            "value",
            f"is a JPEG file of {n_scans} scans; expected at most {MAX_SCANS}: save it again",
        )
    needed += [scans, end_marker]
    return PictureFile("JPEG", *size, orientation or _UPRIGHT, b"".join(needed))


def _segment(content: bytes, at: int) -> tuple[int, int, int]:
    """Return the marker of the segment at `at`, where its length stands, and its end."""
    found = _MARKER.match(content, at)
    if found is None:
        if content[at:].strip(b"\xff"):
            _refuse_damaged(f"there is no marker at byte {at}")
        _refuse_cut_short(content)
    marker = found[1][0]
    if marker in _ALONE:
        _refuse_damaged(f"its marker 0xFF{marker:02X} at byte {at} stands before the pixels")
    start = found.end()
    length = int.from_bytes(content[start : start + 2], "big")
    if start + max(length, 2) > len(content):
        _refuse_cut_short(content)
    if length < 2:  # noqa: PLR2004  # the length counts its own two bytes
        _refuse_damaged(f"the segment at byte {at} has length {length}")
    return marker, start, start + length


def _frame_size(marker: int, frame: bytes) -> tuple[int, int]:
    """Return width and height."""
    if marker not in _READ_FRAMES:
        raise RefusedError(
            "value",
            f"is a JPEG file of the kind SOF{marker & 0x0F}, which is not read; expected baseline "
            "or progressive",
        )
    try:
        bits, height, width = struct.unpack_from(">BHH", frame)
    except struct.error:
        _refuse_damaged("its frame header is too short")
    if bits != _SAMPLE_BITS:
        raise RefusedError(
            "value", f"is a JPEG file of {bits} bits per sample; expected {_SAMPLE_BITS}"
        )
    return width, height


def _orientation(segment: bytes) -> int | None:
    """Return the orientation that an APP1 segment states; none if it has none that can be read."""
    if not segment.startswith(_EXIF):
        return None
    exif = segment[len(_EXIF) :]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(f"{order}L", exif, 4)
        (n_entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for i in range(n_entries):
            entry = struct.unpack_from(f"{order}HHLH", exif, directory + 2 + 12 * i)
            tag, kind, _, value = entry
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= _N_ORIENTATIONS else None
    except struct.error:
        pass  # as any viewer does: the picture is whole, whatever its metadata are
    return None


def _refuse_cut_short(content: bytes) -> NoReturn:
    raise RefusedError(
        "value", f"is cut short: its {len(content)} bytes are not all of the file; send it whole"
    )


def _refuse_damaged(fault: str) -> NoReturn:
    raise RefusedError("value", f"is damaged: {fault}")
