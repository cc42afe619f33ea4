"""Frozen graph -> UFF and ONNX: a library of its own, without Prefect, runs or boards.

``convert`` is the way in. ``graph`` reads a GraphDef and finds the SSD in it, ``ssd`` derives TensorRT's plugin
parameters from pipeline.config, ``uff`` writes and reads UFF, ``lowering`` makes ONNX of it, ``explain`` says what
became of each node, and ``dropin`` stands in for NVIDIA's graphsurgeon and uff modules.
"""
