"""A drop-in for NVIDIA's ``graphsurgeon`` and ``uff``, which are on no package index and run on no current Python.

Written from their public documentation and from how public scripts call them. ``graphsurgeon``, ``uff``, ``tensorflow``
and ``tensorrt`` in this package stand in for the modules of these names, only while a script written for them runs
(``stand_ins.in_place``): ``config.py`` files with ``preprocess(dynamic_graph)`` run unchanged, with none of the four
installed.
"""
