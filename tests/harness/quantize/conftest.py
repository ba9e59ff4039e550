"""One cache for all conversions of a session, and the digits model with its data."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from harness.artifact import Artifact, from_device, to_device
from harness.host.cache import Cache
from harness.model import Model
from harness.quantize.trial import run_executorch, run_litert
from harness.sources.data import load_data
from harness.sources.models import open_model
from harness.sources.split import Split, split


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEFARM_CACHE", str(root))
        yield Cache(root)


@pytest.fixture(scope="session")
def digits(cache: Cache) -> Model:
    assert cache.root.is_dir()
    return open_model("zoo:digits-cnn")


@pytest.fixture(scope="session")
def digits_data(digits: Model) -> Split:
    return split(load_data("zoo:digits-cnn", digits), calibration=32)


def run(artifact: Artifact, *samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """First output for each sample, in the model's own layout, as floats."""
    manifest = artifact.manifest
    invoke = run_litert if manifest.runtime == "litert" else run_executorch
    inputs = [to_device(spec, x) for spec, x in zip(manifest.inputs, samples, strict=True)]
    outputs = [
        invoke(artifact.path, [x[at : at + 1] for x in inputs])[0] for at in range(len(inputs[0]))
    ]
    return from_device(manifest.outputs[0], np.concatenate(outputs))
