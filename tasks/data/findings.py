"""What can be wrong with a data set: what it is called, what is done about it, and what a person can do."""

from __future__ import annotations

from dataclasses import dataclass

STRICT, DROP, WARN = "strict", "drop", "warn"


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    Attributes:
        title: Of a list of them.
        remedy: What a person can do.
        default: What is done: ``strict``, ``drop`` or ``warn`` (see specs ``Policy``); empty for a note, which needs no
            decision.
        subject: What is left out where it is dropped: ``image`` or ``box``; ``set`` for what is left out of nothing.
    """

    title: str
    remedy: str
    default: str = ""
    subject: str = "image"


_AGAIN = "export or copy the image again"
_BOX = "correct the box in your labelling tool"

KINDS = {
    "unreadable_image": Kind("images that cannot be decoded", _AGAIN + ", as JPEG or PNG", DROP),
    "damaged_image": Kind("damaged images", _AGAIN, DROP),
    "missing_image": Kind("labels without their image", "copy the image there, or remove its labels", DROP),
    "unlabelled_image": Kind("images without labels", "label it, or say policy.unlabelled_image: warn", DROP),
    "unreadable_labels": Kind("label files that cannot be read", "export the labels again", DROP),
    "wrong_size": Kind("labels of another image size", "export labels and images together", DROP),
    "outside_folder": Kind("paths that lead out of the folder", "name the folder that holds both", DROP),
    "duplicate_image": Kind("images that are there twice", "remove one of the two", DROP),
    "no_box": Kind("images without an object", "they are kept as negatives; policy.no_box: drop leaves them out", WARN),
    "in_both_splits": Kind("images in both splits", "remove it from one of the two", DROP),
    "same_scene": Kind("nearly the same image in both splits", "put the whole scene on one side", WARN),
    "bad_box": Kind("boxes that cannot be read", _BOX, DROP, "box"),
    "inverted": Kind("boxes with exchanged edges", _BOX, DROP, "box"),
    "no_area": Kind("boxes without area", _BOX, DROP, "box"),
    "outside": Kind("boxes outside their image", _BOX, DROP, "box"),
    "over_edge": Kind("boxes over the edge of their image", _BOX + "; they are clipped", WARN, "box"),
    "tiny": Kind(
        "boxes too small for the network", "a larger model.width and height, or objects.min_side", WARN, "box"
    ),
    "duplicate_box": Kind("boxes that are there twice", _BOX, DROP, "box"),
    "conflicting_boxes": Kind("one box of two classes", _BOX, WARN, "box"),
    "unknown_class": Kind("unknown classes", "name it in label_map or classes, or list it under ignore", STRICT, "box"),
    "class_without_objects": Kind("classes without objects", "add images of it, or remove the class", WARN, "set"),
    "imbalance": Kind("classes with far fewer objects", "add images of the rare class", WARN, "set"),
    # notes
    "turned": Kind("images that were turned as their EXIF orientation asks", ""),
    "orientation": Kind("images whose EXIF orientation was left aside", ""),
    "converted": Kind("images that were written again for TensorFlow's decoders", ""),
    "reduced": Kind("images that were reduced to max_side", ""),
    "clipped": Kind("boxes less than a pixel over the edge, clipped", "", "", "box"),
    "rotated": Kind("rotated boxes, replaced by the upright box around them", "", "", "box"),
    "outline": Kind("outlines and masks, replaced by the box around them", "", "", "box"),
    "not_a_box": Kind("labels that are no boxes, left out", "", "", "box"),
    "image_found": Kind("images found by their name, not where their labels say", ""),
    "test_split": Kind("images of a test split, left out", "", "", "set"),
    "classes": Kind("changes of the classes", "", "", "set"),
    "layout": Kind("what was left aside", "", "", "set"),
}
