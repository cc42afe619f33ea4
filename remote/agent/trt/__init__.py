"""All that knows TensorRT or CUDA: one adapter per era of the API, building, calibrating, running."""
