"""Pieces of pipeline.configs that several tests have."""

#: Of ``post_processing``.
SUPPRESSION = """\
      batch_non_max_suppression {
        score_threshold: 1e-8
        iou_threshold: 0.6
        max_detections_per_class: 100
        max_total_detections: 100
      }
      score_converter: SIGMOID
"""
