"""A Keras model as it is evaluated amid its training, and the best of its checkpoints.

It is a model of its own, built and traced once, whose variables are read from each checkpoint. The OD API's loop of
evaluation traces the network anew at every call.
"""

from __future__ import annotations

from typing import Any

from . import keras_model, slots
from .class_metrics import BOXES, per_class
from .validation import figures

#: What the names of a Keras model's checkpoints begin with.
PREFIX = "ckpt"


class EvaluatedKeras:
    """See ``validation.Validation``; the checkpoints are of models alone, and lie where the best one stays.

    Args:
        configs: Of ``keras_model.configs_of``.
    """

    def __init__(self, configs: dict[str, Any], model_dir: str) -> None:
        self._configs, self._folder = configs, model_dir
        self._model: Any = None
        self._data: Any = None
        self._detect: Any = None

    def place(self, step: int) -> str:
        return slots.place(self._folder, step, PREFIX)

    def keep(self, prefix: str, best: str) -> None:
        """It lies there."""
        assert prefix == best

    def close(self) -> None:
        self._model = self._data = self._detect = None

    def measure(self, prefix: str) -> dict[str, float]:
        """The figures of a checkpoint."""
        import tensorflow as tf
        from object_detection import eval_util
        from object_detection.utils import label_map_util

        if self._model is None:
            self._build()
        settings, labels = self._configs["eval_config"], self._configs["eval_input_config"].label_map_path
        categories = list(label_map_util.create_category_index_from_labelmap(labels).values())
        options = eval_util.evaluator_options_from_eval_config(settings)
        (evaluator,) = eval_util.get_evaluators(settings, categories, options)
        restored = tf.train.Checkpoint(model=self._model).restore(prefix)
        for features, groundtruth in self._data:
            evaluator.add_eval_dict(self._detect(features, groundtruth))
        restored.assert_existing_objects_matched()
        with per_class() as classes:
            measured = evaluator.evaluate()
        return figures({name[len(BOXES) :]: value for name, value in measured.items()}, classes)

    def _build(self) -> None:
        import tensorflow as tf

        self._model = keras_model.build(self._configs)
        self._data = keras_model.without_autograph(keras_model.eval_input)(self._configs, self._model)
        self._detect = tf.function(self._compute, autograph=False)

    def _compute(self, features: Any, groundtruth: Any) -> Any:
        """Detections and ground truth of a batch, as evaluators take them."""
        import tensorflow as tf
        from object_detection import model_lib_v2

        self._model._is_training = False
        tf.compat.v1.keras.backend.set_learning_phase(False)
        shapes = features["true_image_shape"]
        detections = self._model.postprocess(self._model.predict(features["image"], shapes), shapes)
        return model_lib_v2.prepare_eval_dict(detections, dict(groundtruth), features)[0]
