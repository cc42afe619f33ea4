"""Run in a process of its own: what the OD API's scripts write, and what its decoder makes of that and of our records.

Arguments: a VOC folder, a COCO file, its images, a label map, a folder of record files, a folder for the results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jetlane.tasks.data.records import read_records
from jetlane.tasks.odapi.child import compat

_KEYS = ("image", "groundtruth_boxes", "groundtruth_classes", "groundtruth_is_crowd", "groundtruth_difficult",
         "groundtruth_weights", "groundtruth_area", "key", "original_image_spatial_shape")  # fmt: skip


def pascal(root: Path, label_map: dict[str, int]) -> list[bytes]:
    """The examples of create_pascal_tf_record."""
    from lxml import etree
    from object_detection.dataset_tools import create_pascal_tf_record
    from object_detection.utils import dataset_util

    made = []
    for path in sorted((root / "Annotations").glob("*.xml")):
        data = dataset_util.recursive_parse_xml_to_dict(etree.fromstring(path.read_bytes()))["annotation"]
        data["folder"] = ""
        made.append(create_pascal_tf_record.dict_to_tf_example(data, str(root), label_map).SerializeToString())
    return made


def coco(path: Path, images: Path) -> list[bytes]:
    """The examples of create_coco_tf_record."""
    from object_detection.dataset_tools import create_coco_tf_record

    data = json.loads(path.read_text())
    categories = {each["id"]: each for each in data["categories"]}
    made = []
    for image in data["images"]:
        boxes = [each for each in data["annotations"] if each["image_id"] == image["id"]]
        result = create_coco_tf_record.create_tf_example(image, boxes, str(images), categories)
        assert result[2] == 0
        made.append(result[1].SerializeToString())
    return made


def decoded(payloads: list[bytes], label_map: Path) -> dict[str, dict[str, Any]]:
    """What the decoder makes of examples, by the image's digest."""
    import tensorflow.compat.v1 as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    with tf.Graph().as_default(), tf.Session() as session:
        payload = tf.placeholder(tf.string, [])
        tensors = TfExampleDecoder(label_map_proto_file=str(label_map)).decode(payload)
        wanted = {key: tensors[key] for key in _KEYS}
        session.run(tf.tables_initializer())
        found = [session.run(wanted, {payload: each}) for each in payloads]
    return {values["key"].decode(): values for values in found}


def main() -> None:
    compat.apply()
    import numpy as np

    voc, coco_file, images, label_map, records, out = map(Path, sys.argv[1:])
    from object_detection.utils import label_map_util

    names = label_map_util.get_label_map_dict(str(label_map))
    sets = {"pascal": pascal(voc, names), "coco": coco(coco_file, images)}
    for name in ("voc", "coco"):
        files = sorted(records.glob(f"{name}.record-*"))
        sets[f"jetlane {name}"] = [payload for path in files for payload in read_records(path)]
    for name, payloads in sets.items():
        for digest, values in decoded(payloads, label_map).items():
            np.savez(out / f"{name}-{digest}.npz", **{key: values[key] for key in _KEYS if key != "key"})


if __name__ == "__main__":
    main()
