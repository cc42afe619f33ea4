"""The formats that can be read, by the key that a spec has for them."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from jetlane.tasks.data.dataset_model import Reader


@dataclass(frozen=True)
class Format:
    """A format of labels.

    Attributes:
        name: The spec's key.
        title: For people.
        layout: What lies where, in a sentence.
    """

    name: str
    title: str
    layout: str

    @property
    def read(self) -> Reader:
        """Its reader; imported when it is needed."""
        module = importlib.import_module(f"jetlane.tasks.data.readers.{self.name}")
        return cast("Reader", module.read)


FORMATS = {
    found.name: found
    for found in (
        Format("voc", "Pascal VOC", "one XML file with <annotation> for an image, in Annotations/ or beside it"),
        Format("coco", "COCO", "one JSON file with images, annotations and categories, and a folder of images"),
        Format("kitti", "KITTI", "one text file for an image, lines of a class and 14 numbers"),
        Format("yolo", "YOLO", "data.yaml; images/ and labels/, lines of a class number and 4 fractions"),
        Format("csv", "CSV", "a table: filename,width,height,class,xmin,ymin,xmax,ymax, or Open Images' columns"),
        Format("labelme", "LabelMe", "one JSON file with shapes and imagePath for an image"),
        Format("cvat", "CVAT", "one XML file with <annotations>, as CVAT for images or video writes it"),
        Format("label_studio", "Label Studio", "one JSON file: a list of tasks with their annotations"),
        Format("tfrecord", "TFRecord", "tf.train.Example records in the Object Detection API's form"),
    )
}
