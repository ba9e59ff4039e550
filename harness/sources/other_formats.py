"""Files of formats that are not read: what to do with each, in one or two sentences."""

import zipfile
from pathlib import Path

from harness.host.plain_files import open_plain

_WEIGHTS = (
    "it holds weights, or a pickled module, which alone are no model. Write a net.py and name "
    "net.py:model: def model(): net = Net(); "
    "net.load_state_dict(torch.load({name!r}, weights_only=True)); "
    "return net.eval(), (torch.randn(1, 3, 224, 224),)"
)
TORCHSCRIPT = (
    "it is TorchScript, which cannot be exported again. Take the Python class that it was made "
    "from: a function in net.py returns the nn.Module with its weights and example inputs, named "
    "as net.py:model; or save torch.export.export(net, examples) as a .pt2"
)
_KERAS = (
    "it is a Keras model. Convert it where TensorFlow is: "
    "tf.lite.TFLiteConverter.from_keras_model(tf.keras.models.load_model({name!r})).convert() "
    "gives the content of a .tflite"
)
_SAVED_MODEL = (
    "it is a TensorFlow model. Convert it where TensorFlow is: "
    "tf.lite.TFLiteConverter.from_saved_model(folder).convert() gives the content of a .tflite"
)
_MODELS = {
    ".onnx": (
        "ONNX is not read. Take the PyTorch model that it was exported from, as net.py:model or a "
        ".pt2; where there is none, onnx2tf makes a .tflite of it"
    ),
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".pb": _SAVED_MODEL,
    ".pt": _WEIGHTS,
    ".pth": _WEIGHTS,
    ".ckpt": _WEIGHTS,
    ".bin": _WEIGHTS,
    ".safetensors": (
        "it holds weights, which alone are no model. Write a net.py and name net.py:model: "
        "def model(): net = Net(); net.load_state_dict(safetensors.torch.load_file({name!r})); "
        "return net.eval(), (torch.randn(1, 3, 224, 224),)"
    ),
    ".torchscript": TORCHSCRIPT,
    ".ptl": TORCHSCRIPT,
}
_BATCHES = (
    "write a file.py whose function yields batches, (inputs, labels), and name file.py:batches"
)
_DATA = {
    ".npy": "np.savez('data.npz', in0=np.load({name!r})) makes an .npz of it",
    ".pt": f"{_BATCHES}: yield torch.load({{name!r}}), or save it with np.savez('data.npz', in0=x)",
    ".csv": f"{_BATCHES}; for pictures, name the folder that has it as labels.csv",
}
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_NAMED = "its name must end in {suffix}: it is a {suffix} file, rename it"


def model_hint(path: Path) -> str:
    """What to do with a file, or a folder, that is no model of ours; "" where that is not known."""
    if path.is_dir():
        return _SAVED_MODEL if (path / "saved_model.pb").exists() else ""
    kind = _content(path)
    if kind in {".tflite", ".pt2", ".pte"}:
        return _NAMED.format(suffix=kind)
    if kind == ".torchscript":
        return TORCHSCRIPT
    return _MODELS.get(path.suffix.lower(), "").format(name=path.name)


def data_hint(path: Path) -> str:
    """What to do with a file that is no data of ours."""
    if path.suffix.lower() in _PICTURES:
        return "name the folder that it is in, which has a labels.csv or a folder for each class"
    return _DATA.get(path.suffix.lower(), _BATCHES).format(name=path.name)


def _content(path: Path) -> str:
    """The suffix that a file's content goes with; "" where it does not say."""
    try:
        with open_plain(path) as stream:
            mark = stream.read(8)[4:8]
        if mark == b"TFL3":
            return ".tflite"
        if mark[:2] == b"ET":
            return ".pte"
        if not zipfile.is_zipfile(path):
            return ""
        with zipfile.ZipFile(path) as archive:
            inside = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return ""
    if "constants.pkl" in inside:
        return ".torchscript"
    return ".pt2" if "archive_format" in inside else ""
