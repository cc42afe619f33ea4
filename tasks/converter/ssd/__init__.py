"""What an SSD is: pipeline.config -> parameters of TensorRT's plugins, and a reference of these in numpy."""
