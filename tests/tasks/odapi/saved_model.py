"""Run by a test in a process of its own, in TensorFlow 2's mode: an untrained TF2-native SSD, as a SavedModel,
and ``reference.npz``: an image and what the SavedModel itself makes of it.

Arguments: the folder of the Object Detection API's child package, a pipeline.config, where to write.
"""

import importlib
import importlib.util
import sys


def main(child: str, config: str, out: str) -> None:
    """Write ``saved_model`` and ``reference.npz``, and ``no_detector``: a SavedModel that is none."""
    spec = importlib.util.spec_from_file_location("child", f"{child}/__init__.py", submodule_search_locations=[child])
    package = importlib.util.module_from_spec(spec)
    sys.modules["child"] = package
    spec.loader.exec_module(package)
    compat = importlib.import_module("child.compat")
    for step in compat._STEPS:  # all but the one that leaves TensorFlow 2's mode, and what is TF1's exporter's
        if step.__name__ not in ("_tf2_behaviour", "_profiler"):
            step()

    import numpy as np
    import tensorflow as tf
    from google.protobuf import text_format
    from object_detection import exporter_lib_v2
    from object_detection.builders import model_builder
    from object_detection.protos import pipeline_pb2

    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    with open(config) as file:
        text_format.Parse(file.read(), pipeline)
    tf.random.set_seed(3)
    model = model_builder.build(pipeline.model, is_training=False)
    image = tf.zeros((1, 160, 160, 3))
    model.postprocess(model.predict(*model.preprocess(image)), tf.constant([[160, 160, 3]]))
    checkpoint = tf.train.Checkpoint(model=model)
    tf.train.CheckpointManager(checkpoint, f"{out}/checkpoint", 1).save()
    exporter_lib_v2.export_inference_graph("image_tensor", pipeline, f"{out}/checkpoint", out)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 200, 240, 3), np.uint8)
    found = tf.saved_model.load(f"{out}/saved_model").signatures["serving_default"](tf.constant(pixels))
    np.savez(
        f"{out}/reference.npz",
        image=pixels[0],
        boxes=found["raw_detection_boxes"][0],
        scores=found["raw_detection_scores"][0],
    )
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([1], tf.float32)])
    tf.saved_model.save(module, f"{out}/no_detector", signatures=module.f)


if __name__ == "__main__":
    main(*sys.argv[1:])
