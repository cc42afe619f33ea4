"""The TensorFlow Object Detection API, always in a process of its own.

``client`` starts that process and gives it jobs; ``pipeline`` writes its pipeline.config; ``child`` is what runs there,
the only room that imports tensorflow.
"""
