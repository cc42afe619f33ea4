"""Runs the network part of a UFF in numpy, channels last: an independent reading of what we write."""

from __future__ import annotations

import numpy as np

from jetlane.tasks.converter.arithmetic import same_padding


def run(uff, feeds, wanted):
    """Values of the wanted node ids. ``feeds``: input id -> float32 [1, H, W, 3], channels last."""
    nodes = {node.id: node for node in uff.nodes}
    values = dict(feeds)
    todo = list(wanted)
    while todo:
        name = todo[-1]
        if name in values:
            todo.pop()
            continue
        missing = [i for i in nodes[name].inputs if i not in values]
        if missing:
            todo.extend(missing)
            continue
        node = nodes[name]
        values[name] = _OPERATIONS[node.operation](node.fields, *(values[i] for i in node.inputs))
    return [values[name] for name in wanted]


def _window_padding(size, kernel, stride, fields, axis):
    if fields.get("implicit_padding") == "same":
        return same_padding(size, kernel, stride)
    amount = fields["padding"][axis] if "padding" in fields else 0
    return amount, amount


def _patches(x, kernel, fields, fill=0.0):
    pads = (
        [(0, 0)]
        + [_window_padding(x.shape[a + 1], kernel[a], fields["strides"][a], fields, a) for a in (0, 1)]
        + [(0, 0)]
    )
    x = np.pad(x, pads, constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    return windows[:, :: fields["strides"][0], :: fields["strides"][1]]


def _conv(fields, x, kernel):
    assert fields["inputs_orders"] == ("N+C", "+CK") and all(d == 1 for d in fields.get("dilation", [1]))
    patches = _patches(x, kernel.shape[:2], fields)  # N, h, w, C, kh, kw
    if "number_groups" in fields:
        assert fields["number_groups"] == x.shape[3] and kernel.shape[3] == 1
        return np.einsum("nhwcij,ijc->nhwc", patches, kernel[..., 0], optimize=True)
    flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel.size // kernel.shape[3])
    return (flat @ kernel.reshape(-1, kernel.shape[3])).reshape(*patches.shape[:3], kernel.shape[3])


def _pool(fields, x):
    if fields["func"] == "max":
        return _patches(x, tuple(fields["kernel"]), fields, -np.inf).max(axis=(4, 5))
    ones = _patches(np.ones_like(x), tuple(fields["kernel"]), fields)
    return _patches(x, tuple(fields["kernel"]), fields).sum(axis=(4, 5)) / ones.sum(
        axis=(4, 5)
    )  # the margin is not counted


def _batch_norm(fields, x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + np.float32(fields["epsilon"])) * gamma + beta


def _strided_slice(fields, x, begin, end, strides):
    assert fields["shrink_axis_mask"] == 1 and len(begin) == 1
    return x[int(begin[0])]


def _softmax(fields, x):
    axis = 1 if x.ndim == 2 else max(1, x.ndim - 3)  # as NVIDIA's parsers take it
    assert x.ndim == 2 or fields["inputs_orders"] == ("NC+",)
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _conv_transpose(fields, x, kernel, shape):
    """Scatter each pixel's products; VALID, kernel as large as the stride."""
    kh, kw, out, _ = kernel.shape
    assert [kh, kw] == fields["strides"] and fields["inputs_orders"] == ("N+C", "+KC")
    n, h, w, _ = x.shape
    spread = np.einsum("nhwc,ijkc->nhiwjk", x, kernel, optimize=True).reshape(n, h * kh, w * kw, out)
    assert list(spread.shape) == list(shape)
    return spread


_FUNCS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}

_OPERATIONS = {
    "Const": lambda fields: fields["values"],
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "BatchNorm": _batch_norm,
    "Pool": _pool,
    "Binary": lambda fields, a, b: _FUNCS[fields["func"]](a, b),
    "Activation": lambda fields, x: _FUNCS[fields["func"]](x),
    "Shape": lambda fields, x: np.array(x.shape, np.int32),
    "StridedSlice": _strided_slice,
    "Stack": lambda fields, *x: np.stack(x, fields["axis"]),
    "Reshape": lambda fields, x, shape: x.reshape([int(s) for s in shape]),
    "Concat": lambda fields, *x: np.concatenate(x, fields["axis"]),
    "Softmax": _softmax,
    "Transpose": lambda fields, x: x.transpose(fields["permutation"]),
    "Pad": lambda fields, x, paddings: np.pad(x, [tuple(p) for p in paddings]),
    "Reduce": lambda fields, x: {"mean": np.mean, "max": np.max}[fields["func"]](
        x, axis=tuple(fields["axes"]), keepdims=fields["keepdims"]
    ),
    "_FlattenConcat_TRT": lambda fields, *x: np.concatenate([part.reshape(len(part), -1) for part in x], 1),
}
