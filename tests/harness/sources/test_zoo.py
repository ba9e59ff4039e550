"""The zoo: real weights, real data, apart."""

from pathlib import Path

import numpy as np
import pytest

from harness.model import Model, ModelInput
from harness.sources.data import load_data
from harness.sources.dataset import Dataset
from harness.sources.zoo import zoo_names


def load(name: str, *shape: int) -> Dataset:
    model = Model(name, name, "0" * 64, (ModelInput(shape, "float32"),))
    return load_data(f"zoo:{name}", model)


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEFARM_CACHE", str(tmp_path / "cache"))


def test_names_are_those_of_the_files() -> None:
    assert zoo_names() == ("digits-cnn", "efficientnet-lite0", "minilm")


@pytest.mark.parametrize(
    ("name", "shape", "held_out", "classes"),
    [
        ("digits-cnn", (1, 1, 8, 8), 360, 10),
        ("efficientnet-lite0", (1, 3, 224, 224), 20, 1000),
    ],
)
def test_calibration_and_evaluation_samples_are_apart(
    name: str, shape: tuple[int, ...], held_out: int, classes: int
) -> None:
    data = load(name, *shape)
    assert data.labels is not None
    assert data.calibration is not None
    assert len(data.inputs[0]) == len(data.labels) == held_out
    assert data.labels.max() < classes
    seen = {x.tobytes() for x in data.calibration[0]}
    assert not any(x.tobytes() in seen for x in data.inputs[0])


@pytest.mark.slow
def test_digits_are_trained_once_to_a_real_held_out_accuracy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    from harness.sources.zoo import digits_cnn

    threads = torch.get_num_threads()
    try:
        network, examples = digits_cnn.model()
    finally:
        torch.set_num_threads(threads)
    assert examples[0].shape == (1, 1, 8, 8)
    assert list((tmp_path / "cache" / "zoo").iterdir())
    monkeypatch.setattr(digits_cnn, "_train", lambda _: pytest.fail("trained again"))
    again, _ = digits_cnn.model()
    data = digits_cnn.data()
    with torch.inference_mode():
        x = torch.from_numpy(data.inputs[0])
        outputs = network(x)
        torch.testing.assert_close(outputs, again(x), rtol=0, atol=0)
    accuracy = (outputs.argmax(1).numpy() == data.labels).mean()
    assert 0.97 <= accuracy < 1
    x_all = np.concatenate([data.inputs[0], data.calibration[0]]) if data.calibration else None
    assert x_all is not None
    assert 0 <= x_all.min() < x_all.max() <= 1


def test_sentences_are_tokens_with_a_mask_and_apart_from_those_for_calibration() -> None:
    tokens = ModelInput((1, 64), "int32")
    model = Model("zoo:minilm", "zoo:minilm", "0" * 64, (tokens, tokens))
    data = load_data("zoo:minilm", model)
    assert data.calibration is not None
    assert data.labels is None
    for ids, mask in (data.inputs, data.calibration):
        assert ids.shape == mask.shape == (48, 64)
        assert 0 <= ids.min() < ids.max() < 30522
        np.testing.assert_array_equal(mask, ids != 0)
        assert mask.sum(1).min() >= 10
        assert set(ids[:, 0]) == {101}
    seen = {x.tobytes() for x in data.calibration[0]}
    assert not any(x.tobytes() in seen for x in data.inputs[0])


@pytest.mark.slow
def test_absent_tokens_do_not_move_an_embedding() -> None:
    import torch

    from harness.sources.zoo import minilm

    network, (example, _) = minilm.model()
    ids, mask = (torch.from_numpy(x[:4]) for x in minilm.data().inputs)
    other = torch.where(mask == 0, torch.full_like(ids, 2000), ids)
    with torch.inference_mode():
        vectors, moved = network(ids, mask), network(other, mask)
    assert example.shape == ids[:1].shape
    torch.testing.assert_close(vectors, moved)
    units = torch.nn.functional.normalize(vectors)
    assert (units @ units.T).fill_diagonal_(0).max() < 0.95
