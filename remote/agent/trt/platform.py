"""What a board's GPU is good for, as far as a build may ask for it: fp16, int8, DLA cores."""

import os
from typing import Any, Dict, Optional

from ..files import read_object, write_json
from ..store import Store

#: By compute capability, where nobody has to be asked. Asking TensorRT takes seconds and hundreds of megabytes, which a
#: Nano or a TX2 (5.3, 6.2) can spare least. Thor (11.0) has no DLA.
_KNOWN: Dict[str, Dict[str, Any]] = {
    "5.3": {"fast_fp16": True, "fast_int8": False, "dla_cores": 0},
    "6.2": {"fast_fp16": True, "fast_int8": False, "dla_cores": 0},
    "11.0": {"fast_fp16": True, "fast_int8": True, "dla_cores": 0},
}


def platform(store: Store, trt: Any, cuda: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """``fast_fp16``, ``fast_int8``, ``dla_cores``; None for what nobody knows.

    TensorRT's builder is asked once; the answer is kept until TensorRT or the GPU is another.
    """
    capability = (cuda or {}).get("compute_capability")
    if capability in _KNOWN:
        return dict(_KNOWN[capability])
    unknown = {"fast_fp16": None, "fast_int8": None, "dla_cores": None}
    if capability is None:
        return unknown
    path = store.path("caches", "platform.json")
    asked = {"tensorrt": getattr(trt, "__version__", None), "cuda": (cuda or {}).get("runtime"), "gpu": capability}
    kept = read_object(path)
    if kept.get("of") == asked and isinstance(kept.get("is"), dict) and set(kept["is"]) == set(unknown):
        return kept["is"]
    found = _ask(trt)
    if found is None:
        return unknown
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        write_json(path, {"of": asked, "is": found})
    except OSError:
        pass
    return found


def _ask(trt: Any) -> Optional[Dict[str, Any]]:
    from .common import make_log

    try:
        builder = trt.Builder(make_log(trt))
        return {
            # from 11 on TensorRT no longer says: precision is the model's own affair there
            "fast_fp16": bool(builder.platform_has_fast_fp16) if hasattr(builder, "platform_has_fast_fp16") else None,
            "fast_int8": bool(builder.platform_has_fast_int8) if hasattr(builder, "platform_has_fast_int8") else None,
            "dla_cores": int(builder.num_DLA_cores),
        }
    except Exception:  # no builder, no answer; a build will say why
        return None
