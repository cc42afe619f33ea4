"""A frozen GraphDef, read without TensorFlow and understood by structure."""
