"""Conv and Resize for ONNX's reference evaluator, whose own take minutes for a large network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_resize import Resize as AnyResize

Array = np.ndarray


class Conv(OpRun):
    """Two spatial dimensions, one image, padding as numbers; in the type of its input."""

    op_domain = ""

    def _run(
        self,
        image: Array,
        weights: Array,
        bias: Array | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        assert auto_pad in (None, "NOTSET") and len(image) == 1
        top, left, bottom, right = pads or (0, 0, 0, 0)
        padded = np.pad(image[0], ((0, 0), (top, bottom), (left, right)))
        windows = _windows(padded, weights.shape[2:], strides or (1, 1), dilations or (1, 1))
        groups = group or 1
        if groups == len(padded):  # depthwise
            filters = weights[:, 0].reshape(groups, -1, *weights.shape[2:])
            found = np.einsum("cmij,chwij->cmhw", filters, windows, optimize=True).reshape(-1, *windows.shape[1:3])
        else:
            parts = zip(np.split(weights, groups), np.split(windows, groups))
            found = np.concatenate([np.tensordot(ours, theirs, ([1, 2, 3], [0, 3, 4])) for ours, theirs in parts])
        return ((found if bias is None else found + bias[:, None, None])[None],)


def _windows(padded: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Array:
    """[channels, H, W, rows, columns]: what each position of the kernel sees."""
    size = tuple((length - 1) * apart + 1 for length, apart in zip(kernel, dilations))
    every = np.lib.stride_tricks.sliding_window_view(padded, size, axis=(1, 2))
    return every[:, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]


class Resize(AnyResize):
    """To a whole multiple of the size by the nearest pixel, as feature pyramids do; ONNX's own for all else."""

    def _run(self, image: Array, roi: Any, scales: Any = None, sizes: Any = None, **how: Any) -> tuple[Array]:
        whole = scales is not None and np.array_equal(scales, np.round(scales)) and how["mode"] == "nearest"
        if not whole or how["coordinate_transformation_mode"] != "asymmetric" or how["nearest_mode"] != "floor":
            return super()._run(image, roi, scales, sizes, **how)
        for axis, times in enumerate(scales):
            image = image.repeat(int(times), axis)
        return (image,)
