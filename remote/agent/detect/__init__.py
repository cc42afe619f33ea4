"""From an image to detections, and from detections to a verdict."""
