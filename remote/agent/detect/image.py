"""Image -> network input: the one function that preflight, agent and runtime share.

It repeats TensorFlow's arithmetic in TensorFlow's order, in float32: ``ResizeBilinear`` (legacy,
``align_corners=False``) and the Object Detection API's normalisation, in either order. OpenCV's and Pillow's resizes
are other functions: with them most detections of a small model miss an IoU of 0.99.
"""

import io
from typing import Any, Dict, Tuple

import numpy as np

from ..errors import AgentError
from .arrays import Array


def decoded(path: str, content: bytes) -> Array:
    """The image in the bytes of a ``.npy`` file.

    Raises:
        AgentError: They hold none; kind ``tampered``.
    """
    try:
        image: Array = np.load(io.BytesIO(content), allow_pickle=False)
        return image
    except Exception as error:  # numpy raises of many kinds at what is no array
        raise AgentError("%s of the release holds no image" % path, str(error), "make the release again", "tampered")


def to_input(image: Array, spec: Dict[str, Any]) -> Tuple[Array, Tuple[float, float]]:
    """Turn an image into what the network reads.

    Args:
        image: uint8 [H, W, 3], RGB, of any size.
        spec: The JSON form of an input spec: height, width, resize, normalize, order.

    Returns:
        float32 [3, height, width], and the (x, y) fractions of that frame which the image fills: (1, 1) unless padded.
        A box in the frame divided by them is a box in the image.

    Raises:
        AgentError: Not such an image; or a resize that does not give the network's size.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise AgentError(
            "an image of shape %s and type %s cannot be used" % (image.shape, image.dtype),
            "the network reads colour images",
            "give uint8 [height, width, 3] in RGB",
        )
    frame = (int(spec["height"]), int(spec["width"]))
    resize, normalize = spec["resize"], spec["normalize"]
    size = resized_size(image.shape[:2], frame, resize)
    scale = np.array(normalize["scale"], np.float32)
    offset = np.array(normalize["offset"], np.float32)
    pad = np.array(resize.get("pad_value", (0.0, 0.0, 0.0)), np.float32)
    half_pixel = bool(resize.get("half_pixel_centers"))
    if spec["order"] == "normalize_resize":
        pixels = _resize(image, size, half_pixel, lambda values: values * scale + offset)
    elif spec["order"] == "resize_normalize":
        pixels = _resize(image, size, half_pixel, None) * scale + offset
        pad = pad * scale + offset
    else:
        raise AgentError("the order %r of resizing and normalising is not known" % (spec["order"],))
    if size != frame:
        padded = np.empty(frame + (3,), np.float32)
        padded[:] = pad
        padded[: size[0], : size[1]] = pixels
        pixels = padded
    content = (size[1] / float(frame[1]), size[0] / float(frame[0]))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), content


def resized_size(size: Tuple[int, ...], frame: Tuple[int, int], resize: Dict[str, Any]) -> Tuple[int, int]:
    """(height, width) of the resized image, before padding, by the rules of the OD API's image resizers."""
    kind = resize["kind"]
    if kind == "fixed_shape":
        return frame
    if kind != "keep_aspect_ratio":
        raise AgentError("the resize %r is not known" % (kind,))
    low, high = resize["min_dimension"], resize["max_dimension"]
    target = (low, high) if size[0] < size[1] else (high, low)
    # tf.image.resize(preserve_aspect_ratio=True): float32 throughout, and rint rounds halves to even as tf.round does
    height, width = np.float32(size[0]), np.float32(size[1])
    scale = min(np.float32(target[0]) / height, np.float32(target[1]) / width)
    resized = (int(np.rint(scale * height)), int(np.rint(scale * width)))
    if 0 in resized:
        raise AgentError("an image of %d x %d is too narrow" % tuple(size), "its resized form has no pixel on one side")
    padded = (high, high) if resize.get("pad_to_max") else resized
    if padded != frame:
        raise AgentError(
            "an image of %d x %d becomes %d x %d, but the network reads %d x %d" % (tuple(size) + padded + frame),
            "the model keeps its images' aspect ratio" + ("" if resize.get("pad_to_max") else " and does not pad them"),
            "give images of the shape the model was exported for, or retrain with pad_to_max_dimension",
        )
    return resized


def _resize(image: Array, size: Tuple[int, int], half_pixel: bool, before: Any) -> Array:
    """TensorFlow's ResizeBilinear: float32 [H, W, 3]; ``before`` is applied to every pixel that is read."""
    top, bottom, along_y = _taps(image.shape[0], size[0], half_pixel)
    left, right, along_x = _taps(image.shape[1], size[1], half_pixel)
    # Only the rows that are read are interpolated along x: at most two per output row, however tall the image is.
    rows, position = np.unique(np.concatenate([top, bottom]), return_inverse=True)
    source = image[rows]

    def read(columns: Array) -> Array:
        values = source[:, columns].astype(np.float32)
        return values if before is None else before(values)

    across = _lerp(read(left), read(right), along_x[None, :, None])
    position = position.reshape(-1)
    return _lerp(across[position[: size[0]]], across[position[size[0] :]], along_y[:, None, None])


def _taps(given: int, wanted: int, half_pixel: bool) -> Tuple[Array, Array, Array]:
    """For each output position the two input positions between which it lies, and how far along (float32)."""
    scale = np.float32(given) / np.float32(wanted)
    place = np.arange(wanted, dtype=np.float32)
    if half_pixel:
        place = (place + np.float32(0.5)) * scale - np.float32(0.5)
    else:
        place = place * scale
    floor = np.floor(place)
    lower = np.maximum(floor, 0).astype(np.intp)
    upper = np.minimum(floor + 1, given - 1).astype(np.intp)
    return np.minimum(lower, given - 1), upper, place - floor


def _lerp(first: Array, second: Array, along: Array) -> Array:
    """``first + (second - first) * along``, reusing ``second``'s memory."""
    second -= first
    second *= along
    second += first
    return second
