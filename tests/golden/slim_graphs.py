"""Make tests/golden/graphs of whole graphs: kernels rounded, what TensorFlow gives for the rounded graph, packed.

``python -m tests.golden.slim_graphs WHOLE OUT`` with the extra ``train`` installed; WHOLE/graphs holds a folder for
each case and images/. README.md says why the kernels are rounded and what was measured.
"""

from __future__ import annotations

import io
import json
import lzma
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

#: Significant bits after the point that kernels keep; 23 is float32 itself. Weights of the other cases are random.
KEPT_BITS = {
    "trained_A_t13_v2_160_c3": 10,
    "trained_F_t215_v2_160_c3": 23,
    "C_t15_v1fpn_160_c3": 23,
    "E_t15_v3small_160_c3": 23,
    "C_t15_qat_v2_160_c3": 23,  # rounded weights lie where simulated quantisation tips over
    "trained_C_t15_v1_160_c3": 10,
    "trained_F_t215_v1_160_c3": 10,
    # Networks that magnify rounding: at six bits their last maps amplify it beyond what the tests allow.
    "C_t15_v2_box_c6": 8,
    "E_t15_v2_baseah_160": 5,
    "E_t15_v2_encstr_224": 7,
    "G17_t12_i2_160_c6_softmax": 5,
    "G17_t12_v1_160_c3_min05": 7,
}
OF_RANDOM_WEIGHTS = 6
#: One of each exporter: that TensorFlow of today gives for the whole graph what the exporter's own gave.
CHECKED = {
    "A_t13_lite_v2_224_c6",
    "B_t13_v2_160_c1_noreduce",
    "C_t14_v2_192x320_c3",
    "trained_C_t15_v1_160_c3",
    "E_t15_v3small_160_c3",
    "G17_t12_i2_160_c6_softmax",
    "G18a_t12_lite_v2_160_c3",
    "G18m_t12_v2_160_c3",
    "trained_A_t13_v2_160_c3",
}
#: Raw scores of 90 classes are kept of the first image alone, where they are the logits.
MOST_SCORES = 100_000
#: Tensors no test reads.
UNUSED = ("detection_multiclass_scores", "detection_anchor_indices")


def rounded(values: np.ndarray[Any, Any], bits: int) -> np.ndarray[Any, Any]:
    """float32 rounded to so many bits after the point."""
    drop = 23 - bits
    if not drop:
        return values
    whole = values.astype(np.float32).view(np.uint32)
    half = np.uint32(1 << (drop - 1))
    return ((whole + half) >> np.uint32(drop) << np.uint32(drop)).view(np.float32)


def slim(message: Any, bits: int) -> None:
    """Round the kernels of a GraphDef where they stand."""
    for node in message.node:
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and tensor.dtype == 1 and len(tensor.tensor_shape.dim) == 4 and tensor.tensor_content:
            values = np.frombuffer(tensor.tensor_content, np.float32)
            tensor.tensor_content = rounded(values, bits).tobytes()


def run(message: Any, meta: dict[str, Any], images: Path, keys: list[str]) -> dict[str, np.ndarray[Any, Any]]:
    """What TensorFlow gives for the case's images under the stored keys (``T/<tensor>_k``, ``<output>_k``)."""
    import tensorflow as tf
    from PIL import Image

    found: dict[str, np.ndarray[Any, Any]] = {}
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(message, name="")
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        with tf.compat.v1.Session(graph=graph, config=config) as session:
            entry = next(node.name for node in message.node if node.op == "Placeholder") + ":0"
            for index, name in enumerate(meta["images"]):
                path = images / name
                encoded = meta.get("input_type") == "encoded_image_string_tensor"
                fed = [path.read_bytes()] if encoded else np.asarray(Image.open(path).convert("RGB"))[None]
                wanted = [key for key in keys if key.endswith(f"_{index}")]
                tensors = [_tensor(key[: -len(f"_{index}")], message, meta) for key in wanted]
                found.update(zip(wanted, session.run(tensors, {entry: fed})))
    return found


def _tensor(key: str, message: Any, meta: dict[str, Any]) -> str:
    if key.startswith("T/"):
        return key[2:]
    names = {node.name for node in message.node}
    if key in names:
        return key + ":0"
    # A Keras export numbers its outputs in the alphabetical order of their names.
    outputs = sorted(meta["structured_outputs"])
    return f"Identity{'' if not outputs.index(key) else '_' + str(outputs.index(key))}:0"


def wanted_keys(stored: list[str]) -> list[str]:
    """Without what no test reads, and without raw outputs of an image whose parts are stored."""
    parts = {key.rsplit("_", 1)[1] for key in stored if key.startswith("T/") and "concat_1" in key}
    return [
        key
        for key in stored
        if not key.startswith(UNUSED) and not (key.startswith("raw_") and key.rsplit("_", 1)[1] in parts)
    ]


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array))
    return out.getvalue()


def differences(now: dict[str, Any], then: dict[str, Any]) -> float:
    """Largest difference of boxes, codes, logits or raw scores; the final detections may change places."""
    keys = [key for key in now if key.startswith(("T/", "raw_"))]
    return max(float(np.abs(now[key] - then[key]).max()) for key in keys)


def pack(case: Path, out: Path, inputs: dict[bytes, str]) -> dict[str, Any]:
    """Write out/<case>.tar.xz; network inputs, which many cases share, go beside it once."""
    from tensorflow.core.framework import graph_pb2

    meta = json.loads((case / "meta.json").read_text())
    message = graph_pb2.GraphDef.FromString((case / "frozen_inference_graph.pb").read_bytes())
    with np.load(case / "reference.npz") as file:
        then = {key: file[key] for key in wanted_keys(file.files)}
    for scores in [key for key in then if key.startswith("raw_detection_scores") and then[key].size > MOST_SCORES]:
        del then[scores], then[scores.replace("scores", "boxes")]
    bits = KEPT_BITS.get(case.name, OF_RANDOM_WEIGHTS)
    whole = None
    if case.name in CHECKED:
        whole = differences(run(message, meta, case.parent / "images", list(then)), then)
    now = then
    if bits != 23:
        slim(message, bits)
        now = run(message, meta, case.parent / "images", list(then))
    shared = {}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # 23 bits: the very file; re-serialised, a graph is as long but for the order of its maps.
        data = (case / "frozen_inference_graph.pb").read_bytes() if bits == 23 else message.SerializeToString()
        add(archive, "frozen_inference_graph.pb", data)
        for name in ("pipeline.config", "meta.json"):
            add(archive, name, (case / name).read_bytes())
        for key, array in now.items():
            data = npy(array)
            if array.shape[-1:] == (3,) and key.startswith("T/"):
                shared[key] = inputs.setdefault(data, f"{len(inputs):02d}.npy")
                continue
            add(archive, f"reference/{key.replace('/', '|')}.npy", data)
        add(archive, "inputs.json", json.dumps(shared).encode())
    (out / f"{case.name}.tar.xz").write_bytes(lzma.compress(buffer.getvalue(), preset=9))
    counts = [int((now[key] > 0.3).sum()) for key in now if key.startswith("detection_scores")]
    return {"case": case.name, "bits": bits, "tf_2_15_on_whole": whole, "above_0.3": counts}


def main() -> None:
    whole, out = Path(sys.argv[1]) / "graphs", Path(sys.argv[2]) / "graphs"
    out.mkdir(parents=True, exist_ok=True)
    inputs: dict[bytes, str] = {}
    for case in sorted(path for path in whole.iterdir() if (path / "meta.json").is_file()):
        print(json.dumps(pack(case, out, inputs)), flush=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for data, name in inputs.items():
            add(archive, name, data)
    (out / "inputs.tar.xz").write_bytes(lzma.compress(buffer.getvalue(), preset=9))


if __name__ == "__main__":
    main()
