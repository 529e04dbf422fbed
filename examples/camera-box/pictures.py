"""A number goes in; a picture with a sign on it, and the tensors that the models want, come out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

FRAME = (320, 320)
LINE = (320, 48)
ORIENTATION_LINE = (192, 48)
FILE_BYTES = 2048
_PADDING = 256
_SIGNS = ("EXIT 24", "GATE B7", "PARKING", "NO ENTRY")


class Picture(NamedTuple):
    """One frame of the camera."""

    image: Image.Image
    text: str
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of the text."""


def draw_picture(number: int) -> Picture:
    """Frame `number`: a sign at a place that moves, on a ground of noise."""
    rng = np.random.default_rng(number)
    ground = rng.normal(90, 12, (FRAME[1], FRAME[0], 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(44)
    text = _SIGNS[number % len(_SIGNS)]
    x, y = int(rng.integers(20, 60)), int(rng.integers(40, 220))
    left, top, right, bottom = (int(edge) for edge in pen.textbbox((x, y), text, font=font))
    pen.rectangle((left - 14, top - 12, right + 14, bottom + 12), fill=(20, 60, 150))
    pen.text((x, y), text, font=font, fill=(245, 245, 245))
    return Picture(image, text, (left, top, right, bottom))


def frame_tensor(picture: Picture) -> npt.NDArray[np.float32]:
    """The whole frame, for `detect-text`."""
    return _normalised(picture.image)


def line_tensor(picture: Picture) -> npt.NDArray[np.float32]:
    """The text alone, for `read-text`."""
    return _normalised(_line(picture, LINE))


def orientation_tensor(picture: Picture, upside_down: bool) -> npt.NDArray[np.float32]:
    """The text alone, perhaps upside down, for `find-orientation`."""
    line = _line(picture, ORIENTATION_LINE)
    return _normalised(line.rotate(180) if upside_down else line)


def file_tensor(content: bytes) -> npt.NDArray[np.int32]:
    """The beginning and the end of a file, as `tell-file-kind` wants them."""
    half = FILE_BYTES // 2
    content = content.strip()
    tokens = np.full(FILE_BYTES, _PADDING, np.int32)
    first, last = content[:half], content[-half:]
    tokens[: len(first)] = list(first)
    tokens[FILE_BYTES - len(last) :] = list(last)
    return tokens[None]


def _line(picture: Picture, size: tuple[int, int]) -> Image.Image:
    left, top, right, bottom = picture.box
    crop = picture.image.crop((left - 8, top - 8, right + 8, bottom + 8))
    width = min(size[0], round(crop.width * size[1] / crop.height))
    line = Image.new("RGB", size, (127, 127, 127))
    line.paste(crop.resize((width, size[1])), (0, 0))
    return line


def _normalised(image: Image.Image) -> npt.NDArray[np.float32]:
    # The models were trained on blue, green, red, between -1 and 1.
    pixels = np.asarray(image, np.float32)[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[None] / 127.5 - 1, dtype=np.float32)
