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
        example: Files of a folder of it, with ``/``.
    """

    name: str
    title: str
    layout: str
    example: tuple[str, ...]

    @property
    def read(self) -> Reader:
        """Its reader; imported when it is needed."""
        module = importlib.import_module(f"jetlane.tasks.data.readers.{self.name}")
        return cast("Reader", module.read)


FORMATS = {
    found.name: found
    for found in (
        Format(
            "voc",
            "Pascal VOC",
            "one XML file with <annotation> for an image, in Annotations/ or beside it",
            ("Annotations/0001.xml", "JPEGImages/0001.jpg"),
        ),
        Format(
            "coco",
            "COCO",
            "one JSON file with images, annotations and categories, and a folder of images",
            ("annotations/instances_train.json", "images/0001.jpg"),
        ),
        Format(
            "kitti",
            "KITTI",
            "one text file for an image, lines of a class and 14 numbers",
            ("label_2/0001.txt", "image_2/0001.png"),
        ),
        Format(
            "yolo",
            "YOLO",
            "data.yaml; images/ and labels/, lines of a class number and 4 fractions",
            ("data.yaml", "labels/0001.txt", "images/0001.jpg"),
        ),
        Format(
            "csv",
            "CSV",
            "a table: filename,width,height,class,xmin,ymin,xmax,ymax, or Open Images' columns",
            ("labels.csv", "images/0001.jpg"),
        ),
        Format(
            "labelme",
            "LabelMe",
            "one JSON file with shapes and imagePath for an image",
            ("0001.json", "0001.jpg"),
        ),
        Format(
            "cvat",
            "CVAT",
            "one XML file with <annotations>, as CVAT for images or video writes it",
            ("annotations.xml", "images/0001.jpg"),
        ),
        Format(
            "label_studio",
            "Label Studio",
            "one JSON file: a list of tasks with their annotations",
            ("project.json", "upload/0001.jpg"),
        ),
        Format(
            "tfrecord",
            "TFRecord",
            "tf.train.Example records in the Object Detection API's form",
            ("train.record-00000-of-00004", "validation.record-00000-of-00001", "label_map.pbtxt"),
        ),
    )
}
