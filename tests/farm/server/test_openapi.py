"""Whatever the OpenAPI document allows to be sent, the server answers as it says it does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

from farm.database import open_database
from farm.jobs import submit
from farm.server import Settings, create_app
from farm.tokens import create_token
from harness.host.cache import Cache
from tests.farm.jobs_in import add_devices, request

schemathesis.serializer.alias("application/zip", "application/octet-stream")
LEFT_OUT = {
    "ignored_auth",  # tests/farm/server/test_server.py does it, for every path
    "positive_data_acceptance",  # no archive that is made up is one; no job that is made up exists
    "negative_data_rejection",  # it counts our token and unknown query keys as wrong
    "use_after_free",
    "ensure_resource_availability",
}


@dataclass(frozen=True)
class Documented:
    schema: Any
    token: str


@pytest.fixture(scope="module")
def documented() -> Iterator[Documented]:
    with TemporaryDirectory(prefix="edgefarm-test-") as folder:
        database = open_database(f"sqlite:///{folder}/farm.sqlite")
        add_devices(database, ["a"])
        submit(database, request())
        app = create_app(database, Settings(Path(folder) / "store", Cache(Path(folder) / "cache")))
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        yield Documented(schema, create_token(database, "fuzz", "operate"))
        database.close()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_documented(documented: Documented, mode: GenerationMode) -> None:
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if check.__name__ not in LEFT_OUT]
    count = 0
    for result in documented.schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=10, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def answers(case: Any) -> None:
            response = case.call(headers={"Authorization": f"Bearer {documented.token}"})
            case.validate_response(response, checks=checks)

        answers()
        count += 1
    assert count >= 9
