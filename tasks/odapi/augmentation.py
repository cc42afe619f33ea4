"""How training images are varied: presets, and the Object Detection API's own options as the spec names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

from jetlane.specs.errors import SpecError
from jetlane.specs.support.text import harmless

Option = Union[str, Mapping[str, Mapping[str, Any]]]

_FLIP: list[Option] = ["random_horizontal_flip"]
_SLIGHT_COLOURS: list[Option] = [
    {"random_adjust_brightness": {"max_delta": 0.1}},
    {"random_adjust_contrast": {"min_delta": 0.9, "max_delta": 1.1}},
    {"random_adjust_saturation": {"min_delta": 0.9, "max_delta": 1.1}},
]
_COLOURS: list[Option] = [
    {"random_adjust_brightness": {"max_delta": 0.2}},
    {"random_adjust_contrast": {"min_delta": 0.8, "max_delta": 1.25}},
    {"random_adjust_hue": {"max_delta": 0.02}},
    {"random_adjust_saturation": {"min_delta": 0.8, "max_delta": 1.25}},
]
_STRONG: list[Option] = ["ssd_random_crop_pad", {"random_rgb_to_gray": {"probability": 0.1}}]
PRESETS: dict[str, list[Option]] = {
    "none": [],
    "flip": _FLIP,
    "light": [*_FLIP, *_SLIGHT_COLOURS],
    "medium": [*_FLIP, "ssd_random_crop", *_COLOURS],
    "strong": [*_FLIP, *_STRONG, *_COLOURS],
}
#: Options that change every image in the same way: boards would not do the same to theirs.
_NOT_RANDOM = (
    *("normalize_image", "scale_boxes_to_pixel_coordinates", "resize_image", "subtract_channel_mean", "rgb_to_gray"),
    *("convert_class_logits_to_softmax", "adjust_gamma", "remap_labels"),
)


def augment(train_config: Any, asked: Union[str, Sequence[Option]]) -> None:
    """Replace the ``data_augmentation_options`` of a ``TrainConfig``.

    Raises:
        SpecError: An option or one of its fields is unknown, or is not random.
    """
    train_config.ClearField("data_augmentation_options")
    for index, option in enumerate(PRESETS[asked] if isinstance(asked, str) else asked):
        where = f"train.augmentation[{index}]"
        named = {option: {}} if isinstance(option, str) else option
        if len(named) != 1:
            raise SpecError(f"{where}: {len(named)} options in one", "", "begin each with a dash of its own")
        ((name, fields),) = named.items()
        _add(train_config.data_augmentation_options.add(), name, fields, where)


def _add(step: Any, name: str, fields: Mapping[str, Any], where: str) -> None:
    from google.protobuf import json_format

    known = [field.name for field in step.DESCRIPTOR.fields if field.name not in _NOT_RANDOM]
    if name in _NOT_RANDOM:
        raise SpecError(
            f"{where}: {name} is no augmentation",
            "it changes all images of the training in the same way, and boards would not do that to theirs",
            f"leave it out; augmentations are {', '.join(known)}",
        )
    if name not in known:
        raise SpecError(f"{where}: there is no option {harmless(name, 80)}", f"there are {', '.join(known)}", "")
    try:
        json_format.ParseDict({name: fields}, step)
    except json_format.ParseError as error:
        kind = step.DESCRIPTOR.fields_by_name[name].message_type
        fields_of = ", ".join(field.name for field in kind.fields) or "none"
        why = f"{harmless(str(error), 300)}; its fields are {fields_of}"
        raise SpecError(f"{where}: {name} is not given as the Object Detection API has it", why, "correct it") from None
