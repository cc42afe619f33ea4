"""What a board's GPU can do, as far as a build may ask for it: fp16, int8, DLA cores."""

import os
from typing import Any, Dict, Optional

from .. import process_end
from ..safe_files import read_object, write_json
from ..store import Store
from .common import make_log

#: By compute capability, where TensorRT need not be asked. Asking it takes seconds and hundreds of megabytes, which a
#: Nano or a TX2 (5.3, 6.2) can spare least. Thor (11.0) has no DLA.
_KNOWN: Dict[str, Dict[str, Any]] = {
    "5.3": {"fast_fp16": True, "fast_int8": False, "dla_cores": 0},
    "6.2": {"fast_fp16": True, "fast_int8": False, "dla_cores": 0},
    "11.0": {"fast_fp16": True, "fast_int8": True, "dla_cores": 0},
}


def gpu_features(store: Store, trt: Any, cuda: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """``fast_fp16``, ``fast_int8``, ``dla_cores``; None for what is unknown.

    TensorRT's builder is asked once; the answer is kept until TensorRT or the GPU is another.
    """
    capability = (cuda or {}).get("compute_capability")
    if capability in _KNOWN:
        return dict(_KNOWN[capability])
    unknown: Dict[str, Any] = {"fast_fp16": None, "fast_int8": None, "dla_cores": None}
    if capability is None:
        return unknown
    path = store.path("caches", "platform.json")
    asked = {"tensorrt": getattr(trt, "__version__", None), "cuda": (cuda or {}).get("runtime"), "gpu": capability}
    kept = read_object(path)
    if kept.get("of") == asked and isinstance(kept.get("is"), dict) and set(kept["is"]) == set(unknown):
        return dict(kept["is"])
    try:
        builder = trt.Builder(make_log(trt))
        process_end.keep(builder)
        found = _asked(builder)
    except Exception:  # no builder, no answer; a build will say why
        return unknown
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        write_json(path, {"of": asked, "is": found})
    except OSError:
        pass
    return found


def _asked(builder: Any) -> Dict[str, Any]:
    """The answers of a builder; from TensorRT 11 on it is not asked for precisions, which are the model's."""
    fast = {name: getattr(builder, "platform_has_" + name, None) for name in ("fast_fp16", "fast_int8")}
    found: Dict[str, Any] = {name: None if value is None else bool(value) for name, value in fast.items()}
    return dict(found, dla_cores=int(builder.num_DLA_cores))
