"""A request's digests: of what a submitter named, if it can be read at all."""

import json
import os
from pathlib import Path

import pytest

from farm.inventory import load_inventory
from farm.job import parse_request
from harness.errors import ModelError, UsageError
from harness.recipe import load_recipe
from tests.farm.jobs_in import request


@pytest.mark.parametrize("digest", ["content", "preparation"])
def test_what_cannot_be_read_in_a_folder_is_named(tmp_path: Path, digest: str) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.png").symlink_to("nowhere")
    (tmp_path / "b.png").touch()
    asked = request(data=str(tmp_path))
    with pytest.raises(UsageError, match=r"a\.png: cannot be read: No such file"):
        getattr(asked, digest)()
    (tmp_path / "more" / "a.png").unlink()
    assert getattr(asked, digest)()


def test_an_inventory_that_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "farm.toml")
    with pytest.raises(UsageError) as told:
        load_inventory(tmp_path / "farm.toml")
    assert str(told.value) == (
        f"{tmp_path / 'farm.toml'}: cannot be read: is a named pipe; expected an ordinary file"
    )


@pytest.mark.parametrize("steps", [{}, {"steps": [{"technique": "mse", "options": []}]}])
def test_jobs_of_before_recipes_had_schemes_are_read(steps: dict[str, object]) -> None:
    """A farm's database outlives an update: its jobs are listed, and what waits is done."""
    recipe = load_recipe("static_wi8_ai8" + (" + mse" if steps else ""))
    stored = json.loads(request(recipe=recipe).model_dump_json())
    stored["recipe"] = {
        "name": recipe.name,
        "mode": "static",
        "weight_bits": 8,
        "activation_bits": 8,
        "weight_granularity": "channel",
        "summary": recipe.summary,
        **steps,
    }
    assert parse_request(json.dumps(stored)) == request(recipe=recipe)
    del stored["recipe"]["mode"]
    with pytest.raises(ModelError, match="mode"):
        parse_request(json.dumps(stored))
