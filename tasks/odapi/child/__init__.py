"""What runs in the Object Detection API's process.

It may be run by another interpreter than the project's (a real TensorFlow 1.15 on Python 3.7, say): Python 3.7
syntax, and nothing of the project is imported.
"""
