"""Run by tests in a process of its own: the Object Detection API answers for what it makes of a config.

With the argument ``keras`` it has the extractors of TensorFlow 2, else those of TensorFlow 1.
One JSON request per line of stdin, one JSON answer per line of stdout, {"error": "TypeName: text"} where the API fails:

- {"anchors": text of an anchor_generator, "shapes": feature maps, "size": [height, width], "out": path}: anchors,
  float32 [N, 4] ymin, xmin, ymax, xmax, are written to the path (.npy).
- {"model": text of a pipeline.config, "size": ..., "out": path}: the model is built for an image of that size as an
  export builds it. The anchors are written; the answer holds "shapes", "boxes" and "scores": the shapes of its feature
  maps, box encodings and class scores.
"""

import json
import os
import sys

os.environ.update(CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # libraries print

from jetlane.tasks.odapi.child import compat  # noqa: E402

if sys.argv[1:] == ["keras"]:  # the extractors made of Keras layers are there only where TensorFlow 2 behaves as such
    compat._STEPS = tuple(step for step in compat._STEPS if step is not compat._tf2_behaviour)
compat.apply()

import numpy as np  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402
from google.protobuf import text_format  # noqa: E402
from object_detection.builders import anchor_generator_builder, model_builder  # noqa: E402
from object_detection.protos import anchor_generator_pb2, pipeline_pb2  # noqa: E402
from tensorflow.python.eager import context  # noqa: E402


def anchors(request: dict) -> dict:
    message = text_format.Parse(request["anchors"], anchor_generator_pb2.AnchorGenerator())
    height, width = request["size"]
    with context.eager_mode():  # ten times as fast as a graph and a session for each
        generator = anchor_generator_builder.build(message)
        grids = generator.generate([tuple(shape) for shape in request["shapes"]], im_height=height, im_width=width)
        np.save(request["out"], np.concatenate([grid.get().numpy() for grid in grids]))
    return {}


def model(request: dict) -> dict:
    message = text_format.Parse(request["model"], pipeline_pb2.TrainEvalPipelineConfig()).model
    height, width = request["size"]
    with tf.Graph().as_default(), tf.Session() as session:
        built = model_builder.build(message, is_training=False)
        image = tf.placeholder(tf.float32, (1, height, width, 3))
        predicted = built.predict(image, tf.constant([[height, width, 3]]))
        np.save(request["out"], session.run(built.anchors.get()))
        return {
            "shapes": [one.shape.as_list()[1:3] for one in predicted["feature_maps"]],
            "boxes": predicted["box_encodings"].shape.as_list(),
            "scores": predicted["class_predictions_with_background"].shape.as_list(),
        }


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = (anchors if "anchors" in request else model)(request)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
