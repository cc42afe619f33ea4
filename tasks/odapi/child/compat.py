"""What breaks when the Object Detection API 2.8 meets TensorFlow 2.15, Python 3.11 and the numpy and Pillow of today.

Everything happens in this process's memory; nothing installed is touched. Each function repairs one
incompatibility where it exists, and says whether it did: on a real TensorFlow 1.15 there is next to nothing to do.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from typing import Any, Optional

from .errors import JobError

_applied: Optional[list[str]] = None
_keras = False


def apply(keras: bool = False) -> list[str]:
    """Make ``object_detection`` able to train, evaluate and export SSDs. Call before importing it.

    A process has one mode, that of its first call: the OD API has its TF1-style models or its Keras models, not both.

    Args:
        keras: Whether Keras models are wanted, which need TensorFlow 2's behaviour; later calls need not say so.

    Returns:
        The names of the incompatibilities that were found and patched.

    Raises:
        JobError: A package is missing, or Keras models are wanted of TensorFlow 1.
    """
    global _applied, _keras
    if _applied is None:
        # One Keras in this process: the one that _legacy_layers takes its layers from.
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        require("tensorflow", "object_detection")
        if keras:
            _require_tensorflow_2()
        _applied, _keras = [step.__name__.strip("_") for step in (_KERAS_STEPS if keras else _STEPS) if step()], keras
    elif keras and not _keras:
        raise RuntimeError("this process serves TF1-style models")
    return _applied


def _require_tensorflow_2() -> None:
    import tensorflow

    if tensorflow.__version__.startswith("1."):
        raise JobError(
            f"{sys.executable} has TensorFlow {tensorflow.__version__}",
            "the model is a Keras model, which needs TensorFlow 2",
            "leave train.python out, or use an extractor without _keras",
        )


def require(*packages: str) -> None:
    for name in packages:
        if not _exists(name):
            raise JobError(
                f"{sys.executable} has no {name}",
                "training needs TensorFlow and the Object Detection API",
                "install the train extra on Python 3.10 or 3.11, or name an interpreter that has them as train.python",
            )


def _stale_protos() -> bool:
    """The OD API's ``_pb2`` modules come from an old protoc: protobuf 4 refuses them unless told to be pure Python.

    That would make every graph that is built or saved many times slower. Each module holds its serialised descriptor,
    and that is enough.
    """
    from google.protobuf.internal import api_implementation

    if api_implementation.Type() != "upb":  # protobuf 3 takes them as they are
        return False
    sys.meta_path.insert(0, _ProtoFinder())
    return True


class _ProtoFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Builds ``object_detection.protos.*_pb2`` from the descriptor in their source, as today's generated code would."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if not (name.startswith("object_detection.protos.") and name.endswith("_pb2")):
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found is None or found.origin is None:
            return None
        return importlib.util.spec_from_loader(name, self, origin=found.origin)

    def exec_module(self, module: Any) -> None:
        from google.protobuf import descriptor_pb2, descriptor_pool
        from google.protobuf.internal import builder

        serialised = _serialised_descriptor(module.__spec__.origin)
        for dependency in descriptor_pb2.FileDescriptorProto.FromString(serialised).dependency:
            importlib.import_module(dependency[: -len(".proto")].replace("/", ".") + "_pb2")
        module.DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(serialised)
        builder.BuildMessageAndEnumDescriptors(module.DESCRIPTOR, vars(module))
        builder.BuildTopDescriptorsAndMessages(module.DESCRIPTOR, module.__name__, vars(module))


def _serialised_descriptor(path: str) -> bytes:
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            return bytes(ast.literal_eval(node.value))
    raise ImportError(f"no serialized_pb in {path}")


def _tf2_behaviour() -> bool:
    """The OD API has its TF1 builders only where ``tf2.enabled()`` is false; importing TensorFlow 2 makes it true."""
    import tensorflow.compat.v1 as tf
    from tensorflow.python import tf2

    if not tf2.enabled():
        return False
    tf.disable_v2_behavior()
    return True


def _numpy_aliases() -> bool:
    """``np.int``, ``np.float``, ``np.bool`` left numpy in 1.24; mobilenet_v3 uses one when it is imported."""
    import numpy

    missing = {name: kind for name, kind in (("int", int), ("float", float), ("bool", bool)) if name not in vars(numpy)}
    vars(numpy).update(missing)
    return bool(missing)


def _pillow_text_size() -> bool:
    """``ImageFont.getsize`` left Pillow in 10; evaluation draws its pictures with it."""
    try:
        from PIL import ImageFont
    except ImportError:
        return False
    broken = [kind for kind in (ImageFont.FreeTypeFont, ImageFont.ImageFont) if not hasattr(kind, "getsize")]
    for kind in broken:
        setattr(kind, "getsize", lambda self, text: self.getbbox(text)[2:])  # noqa: B010 - the class has no such name
    return bool(broken)


def _legacy_layers() -> bool:
    """TensorFlow's ``layers`` modules, which tf_slim uses, look for ``tf_keras.legacy_tf_layers``: not there.

    Keras 2.15 has them as ``keras.src.legacy_tf_layers``.
    """
    if not _exists("keras.src.legacy_tf_layers") or _exists("tf_keras.legacy_tf_layers"):
        return False
    for name in ("base", "convolutional", "core", "normalization", "pooling"):
        module = importlib.import_module("keras.src.legacy_tf_layers." + name)
        sys.modules["tf_keras.legacy_tf_layers." + name] = module
    return True


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # its parent does not exist
        return False


def _tensorflow_attributes() -> bool:
    """tf_slim reaches into TensorFlow's own modules for names that have moved out of them."""
    import tensorflow.compat.v1 as tf
    from tensorflow.python.framework import ops
    from tensorflow.python.ops import control_flow_ops

    wanted = [(control_flow_ops, "case", tf.case), (control_flow_ops, "cond", tf.cond)]
    wanted += [(control_flow_ops, "while_loop", tf.while_loop), (ops, "IndexedSlices", tf.IndexedSlices)]
    missing = [(module, name, value) for module, name, value in wanted if not hasattr(module, name)]
    for module, name, value in missing:
        setattr(module, name, value)
    return bool(missing)


def _contrib() -> bool:
    """``tensorflow.contrib`` left TensorFlow in 2.0. Three of its modules are used unguarded; the rest stays absent."""
    try:
        importlib.import_module("tensorflow.contrib")
        return False
    except ImportError:
        pass
    _module("tensorflow.contrib")
    _module("tensorflow.contrib.training", HParams=_HParams)
    _module("tensorflow.contrib.opt", MovingAverageOptimizer=_moving_average_optimizer())
    # matchers/bipartite_matcher imports this at its top, for a matcher that no SSD here uses.
    for name in ("image", "image.python", "image.python.ops", "image.python.ops.image_ops"):
        _module("tensorflow.contrib." + name)
    return True


def _module(name: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    module.__path__ = []
    module.__dict__.update(contents)
    parent, _, child = name.rpartition(".")
    sys.modules[name] = module
    setattr(sys.modules[parent], child, module)


class _HParams:
    """The part of contrib's HParams that model_lib and config_util ask for."""

    def __init__(self, **values: Any) -> None:
        self._values = values
        self.__dict__.update(values)

    def values(self) -> dict[str, Any]:
        return dict(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def set_hparam(self, name: str, value: Any) -> None:
        self._values[name] = value
        setattr(self, name, value)


def _moving_average_optimizer() -> Any:
    import tensorflow.compat.v1 as tf

    class MovingAverageOptimizer(tf.train.Optimizer):  # type: ignore[misc]
        """Applies another optimizer's gradients, then updates the moving averages of all variables that can be trained.

        Of those that are frozen too: evaluation and export look for the averages of all.
        """

        def __init__(self, optimizer: Any, average_decay: float = 0.9999) -> None:
            super().__init__(use_locking=False, name="MovingAverageOptimizer")
            self._optimizer = optimizer
            self._average = tf.train.ExponentialMovingAverage(average_decay)

        def compute_gradients(self, *args: Any, **kwargs: Any) -> Any:
            return self._optimizer.compute_gradients(*args, **kwargs)

        def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: Any = None) -> Any:
            pairs = list(grads_and_vars)
            train = self._optimizer.apply_gradients(pairs, global_step=global_step, name=name)
            with tf.control_dependencies([train]):
                return self._average.apply(tf.trainable_variables())

    return MovingAverageOptimizer


def _slim_packages() -> bool:
    """The OD API says ``from nets import ...``; the wheel ships slim's packages inside ``object_detection``.

    An alias, rather than its folder on the path: that folder also has ``utils``, ``core`` and ``metrics``.
    """
    aliased = []
    for name in ("nets", "deployment", "preprocessing", "datasets"):
        if not _exists(name) and _exists("object_detection." + name):
            sys.modules[name] = importlib.import_module("object_detection." + name)
            aliased.append(name)
    return bool(aliased)


def _profiler() -> bool:
    """The exporter prints a profile with contrib.tfprof; without it the export fails, so nothing is printed."""
    from object_detection import exporter

    if hasattr(exporter, "contrib_tfprof"):
        return False
    exporter.profile_inference_graph = lambda graph: None
    return True


def _rmsprop_decay() -> bool:
    """The OD API hands ``decay`` of its RMSprop to Keras, where that name makes the learning rate fade with the steps.

    What is meant is TF1's, the decay of the mean of squared gradients; Keras calls it ``rho``.
    """
    import tensorflow.compat.v1 as tf

    class RMSprop(tf.keras.optimizers.RMSprop):  # type: ignore[misc]
        def __init__(self, learning_rate: Any, decay: float = 0.9, **others: Any) -> None:
            super().__init__(learning_rate, rho=decay, **others)

    tf.keras.optimizers.RMSprop = RMSprop
    return True


_COMMON_STEPS = (
    _numpy_aliases,
    _pillow_text_size,
    _legacy_layers,
    _tensorflow_attributes,
    _contrib,
    _slim_packages,
)
_STEPS = (_stale_protos, _tf2_behaviour, *_COMMON_STEPS, _profiler)
_KERAS_STEPS = (_stale_protos, *_COMMON_STEPS, _rmsprop_decay)
