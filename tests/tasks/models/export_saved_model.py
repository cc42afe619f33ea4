"""Run by a test in a process of its own: the Object Detection API's exporter, with all that it writes.

Arguments: the folder of the Object Detection API's child package, a pipeline.config, a checkpoint's prefix, where to
write.
"""

import importlib
import importlib.util
import sys


def main(child: str, config: str, checkpoint: str, out: str) -> None:
    """Write ``saved_model``, ``frozen_inference_graph.pb`` and a checkpoint."""
    spec = importlib.util.spec_from_file_location("child", f"{child}/__init__.py", submodule_search_locations=[child])
    package = importlib.util.module_from_spec(spec)
    sys.modules["child"] = package
    spec.loader.exec_module(package)
    pipeline = importlib.import_module("child.configs").read_pipeline(config)
    import tensorflow.compat.v1 as tf
    from object_detection import exporter

    with tf.Graph().as_default():
        exporter.export_inference_graph("image_tensor", pipeline, checkpoint, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
