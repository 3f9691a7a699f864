"""An image file or PIL image -> an input in [0, 1]: colour mode, resizing, cropping, and what is refused."""

import io
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from certmix.errors import InvalidArgument, check_choice
from certmix.files import blame_machine, read_whole

GRID_LEVELS = 255
_MODES = {"rgb": "RGB", "grey": "L"}
_INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
_MOST_BYTES = 256 * 2**20  # of a file
_MOST_PIXELS = 64 * 2**20  # of an image, before and after resizing
# Where a whole file of a format ends: a cheap sign of a truncated one, before anything is decoded.
_ENDS = {"JPEG": (b"\xff\xd9", "end-of-image marker"), "PNG": (b"IEND", "end chunk")}


@dataclass(frozen=True)
class ImageReader:
    """How image files become inputs of one shape, as 8-bit values over 255.

    Attributes:
        mode: "rgb" or "grey" converts every image; "auto" takes RGB or grey images as they are, but no mixture.
        resize: shorter side after resizing; None leaves sizes alone.
        crop: side of the square cut from the middle; None takes the whole image.
        interpolation: of resizing, by name.
        shape: (channels, height, width); known after `settle`.
    """

    mode: str = "auto"
    resize: int | None = None
    crop: int | None = None
    interpolation: str = "bilinear"
    shape: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.mode.removesuffix("-only") not in ("auto", *_MODES):
            raise InvalidArgument(f"mode must be auto, rgb or grey, got {self.mode!r}.")
        check_choice("interpolation", self.interpolation, tuple(_INTERPOLATIONS))
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgument(f"{name} must be >= 1 pixel, got {value}.")

    def describe(self) -> str:
        """The options that decide an input's values."""
        return repr(self)

    def settle(self, path: Path) -> "ImageReader":
        """This reader with the colour mode and shape of a first image."""
        with _open(path) as image:
            return self.settle_on(image, path)

    def settle_on(self, image: Image.Image, name: object) -> "ImageReader":
        """`settle` for an image that is open; `name` is for errors."""
        mode = self.mode
        if mode == "auto":
            mode = {"RGB": "rgb-only", "L": "grey-only"}.get(image.mode, "")
            if not mode:
                raise InvalidArgument(
                    f"image {name} has mode {image.mode}, neither RGB nor grey; add mode=rgb or mode=grey to convert."
                )
        height, width = self._size(image, name)
        return replace(self, mode=mode, shape=(3 if mode.startswith("rgb") else 1, height, width))

    def check(self, content: bytes, path: Path) -> None:
        """Refuse a file whose header, size or end shows that it cannot become an input; decodes nothing."""
        with _open(path, content) as image:
            self._check_mode(image, path)
            self._check_shape(*self._size(image, path), path)
            end, name = _ENDS.get(image.format or "", (b"", ""))
            if end not in content:
                raise InvalidArgument(f"image {path} is truncated (it has no {name}); replace or remove it.")

    def read(self, path: Path) -> torch.Tensor:
        """The input of a file, shape `shape`, float32 in [0, 1]. Raises InvalidArgument naming a broken file."""
        with _open(path) as image:
            return self.convert(image, path)

    def convert(self, image: Image.Image, name: object) -> torch.Tensor:
        """The input of a decoded or lazy image; `name` is for errors."""
        self._check_mode(image, name)
        size = self._size(image, name)
        self._check_shape(*size, name)
        try:
            image = image.convert(_MODES[self.mode.removesuffix("-only")])
            if self.resize is not None:
                height, width = self._resized(image)
                image = image.resize((width, height), _INTERPOLATIONS[self.interpolation])
        except Exception as error:  # decoders raise whatever a damaged file leads them to
            blame_machine(error, f"image {name}")
            raise InvalidArgument(f"image {name} cannot be decoded ({error}); replace or remove it.") from None
        pixels = np.array(image)
        if self.crop is not None:
            # torchvision's CenterCrop: round half to even.
            top, left = (round((side - self.crop) / 2.0) for side in pixels.shape[:2])
            pixels = pixels[top : top + self.crop, left : left + self.crop]
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32) / np.float32(GRID_LEVELS))

    def _check_mode(self, image: Image.Image, name: object) -> None:
        if image.mode not in _EIGHT_BIT:
            raise InvalidArgument(f"image {name} must have 8 bits per channel, got mode {image.mode}.")
        if self.mode.endswith("-only") and image.mode != _MODES[self.mode.removesuffix("-only")]:
            kinds = {"RGB": "an RGB image", "L": "a grey image"}
            raise InvalidArgument(
                f"image {name} is {kinds.get(image.mode, f'of mode {image.mode}')}, but the first one is "
                f"{'RGB' if self.mode == 'rgb-only' else 'grey'}; add mode=rgb or mode=grey to convert all of them."
            )

    def _check_shape(self, height: int, width: int, name: object) -> None:
        if self.shape and (height, width) != self.shape[1:]:
            raise InvalidArgument(
                f"image {name} must be {self.shape[1]} x {self.shape[2]} as the first one, got {height} x {width}; "
                "add resize=256,crop=224 (or other sizes)."
            )

    def _resized(self, image: Image.Image) -> tuple[int, int]:
        """(height, width) after resizing, as torchvision's Resize: the shorter side becomes `resize`."""
        width, height = image.size
        _check_pixels(height, width)
        if self.resize is None:
            return height, width
        long = int(self.resize * max(width, height) / min(width, height))
        _check_pixels(self.resize, long)
        return (self.resize, long) if height <= width else (long, self.resize)

    def _size(self, image: Image.Image, name: object) -> tuple[int, int]:
        height, width = self._resized(image)
        if self.crop is None:
            return height, width
        if self.crop > min(height, width):
            raise InvalidArgument(
                f"crop must be at most the image's shorter side, got {self.crop} for {name} of {height} x {width}; "
                "add resize=SIDE, or make it larger."
            )
        return self.crop, self.crop


def read_image(path: Path) -> bytes:
    """The content of an image file. Raises InvalidArgument or FileError: a pipe, a device, too large, or unreadable."""
    return read_whole(path, "image", _MOST_BYTES)


def _open(path: Path, content: bytes | None = None) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have a limit of our own
            return Image.open(io.BytesIO(read_image(path) if content is None else content))
    except InvalidArgument:
        raise
    except UnidentifiedImageError:
        raise InvalidArgument(f"image {path} is not an image that can be read; replace or remove it.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidArgument(f"image {path} cannot be read ({error}); replace or remove it.") from None


def _check_pixels(height: int, width: int) -> None:
    if not 0 < height * width <= _MOST_PIXELS:
        raise InvalidArgument(
            f"images must have at most {_MOST_PIXELS:,} pixels, also resized, got {height} x {width}."
        )
