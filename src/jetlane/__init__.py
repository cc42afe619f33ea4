"""jetlane: retrain an SSD detector, prove the converted model, put it on a fleet of NVIDIA Jetson boards."""

__version__ = "0.1.0"
