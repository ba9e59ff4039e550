"""Jobs in the database: in line, claimed once, accepted once, taken back, cancelled, in order."""

import os
import pwd
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farm.database import Database
from farm.events import read_events
from farm.job import job_request
from farm.jobs import cancel, recent_jobs, results, status, submit, watch
from farm.parts import MOST_LOSSES, accept, retry, take_back
from farm.queue import LocalQueue
from harness.errors import NoDevice, NotYours, UsageError
from harness.records import Failure, Outcome
from tests.farm.jobs_in import (
    a_run,
    add_devices,
    claim_on,
    expire_leases,
    mark_prepared,
    request,
    submit_ready,
)


@pytest.fixture
def farm(database: Database) -> Database:
    add_devices(database, ["a", "b", "c"])
    return database


def end(farm: Database, device: str, outcome: Outcome = Outcome.PASS) -> None:
    claimed = claim_on(farm, device)
    assert claimed is not None
    with farm.begin() as connection:
        assert accept(connection, claimed, a_run(outcome))


def test_a_job_from_submit_to_result(farm: Database) -> None:
    job = submit_ready(farm)
    assert status(farm, job).state == "queued"
    claimed = claim_on(farm, "a")
    assert claimed is not None
    assert claimed.job == job
    assert status(farm, job).state == "running"
    run = a_run()
    with farm.begin() as connection:
        assert accept(connection, claimed, run)
    ended = status(farm, job)
    assert (ended.state, ended.outcome, ended.parts[0].run) == ("done", Outcome.PASS, run.id)
    assert results(farm, job) == [run]
    assert [event.kind for event in watch(farm, job)] == ["submitted", "started", "ended"]
    assert [one.id for one in recent_jobs(farm)] == [job]


def test_many_claimers_share_the_line(farm: Database) -> None:
    add_devices(farm, [f"d{number}" for number in range(12)])
    for _ in range(8):
        submit_ready(farm)
    with ThreadPoolExecutor(12) as pool:
        claimed = list(pool.map(lambda n: claim_on(farm, f"d{n}"), range(12)))
    parts = [one.part for one in claimed if one is not None]
    assert len(set(parts)) == len(parts)
    while len(parts) < 8:  # a claimer that met a rival got nothing that time
        late = next(filter(None, (claim_on(farm, f"d{n}") for n in range(12))))
        parts.append(late.part)
    assert len(set(parts)) == 8


def test_priority_first_then_order(farm: Database) -> None:
    late, first, second = (
        submit_ready(farm, priority=-1), submit_ready(farm), submit_ready(farm),
    )  # fmt: skip
    urgent = submit_ready(farm, priority=5)
    claimed = [claim_on(farm, name) for name in ("a", "b", "c")]
    assert [one.job for one in claimed if one] == [urgent, first, second]
    assert status(farm, late).state == "queued"


def test_a_selector_is_held_to(farm: Database) -> None:
    submit_ready(farm, selector="tag=b")
    assert claim_on(farm, "a") is None
    assert claim_on(farm, "b") is not None


def test_count_means_different_devices(farm: Database) -> None:
    job = submit_ready(farm, selector="count=2")
    end(farm, "a")
    assert claim_on(farm, "a") is None
    end(farm, "b", Outcome.FAIL)
    assert status(farm, job).outcome is Outcome.FAIL


def test_a_job_is_what_its_worst_part_is(farm: Database) -> None:
    job = submit_ready(farm, selector="count=2")
    end(farm, "a")
    end(farm, "b", Outcome.WARN)
    assert status(farm, job).outcome is Outcome.WARN


def test_what_looks_wrong_is_no_pass_to_depend_on(farm: Database) -> None:
    first = submit_ready(farm, selector="name=a")
    after = submit_ready(farm, selector="name=b", depends_on=first)
    end(farm, "a", Outcome.WARN)
    ended = status(farm, after)
    assert (ended.state, ended.outcome) == ("done", Outcome.CANCELLED)


def test_each_means_every_device(farm: Database) -> None:
    job = submit_ready(farm, selector="each")
    for name in ("a", "b", "c"):
        end(farm, name)
    assert {part.device for part in status(farm, job).parts} == {"a", "b", "c"}


def test_an_artifact_must_be_there_first(farm: Database) -> None:
    asked = request()
    submit(farm, asked)
    assert claim_on(farm, "a") is None
    mark_prepared(farm, asked)
    assert claim_on(farm, "a") is not None


def test_the_same_content_is_the_same_job_while_it_lives(farm: Database) -> None:
    first = submit(farm, request())
    assert submit(farm, request(priority=3)) == first
    assert submit(farm, request(label="x")) != first
    cancel(farm, first)
    assert submit(farm, request()) != first


def test_two_who_submit_the_same_have_a_job_each(farm: Database) -> None:
    of_ann, of_bob = (submit(farm, request(submitter=name)) for name in ("ann", "bob"))
    assert of_ann != of_bob
    assert submit(farm, request(submitter="ann")) == of_ann
    assert [one.id for one in recent_jobs(farm, submitter="bob")] == [of_bob]
    with pytest.raises(NotYours, match=f"{of_ann} belongs to 'ann', and you are 'bob'"):
        cancel(farm, of_ann, by="bob")
    with pytest.raises(NotYours):
        cancel(farm, of_ann)
    assert status(farm, of_ann).state == "queued"
    assert cancel(farm, of_bob, by="bob")
    assert status(farm, of_ann).state == "queued"
    assert cancel(farm, of_ann, by="carol", operator=True)
    told = [event.message for event in read_events(farm, of_ann) if event.kind == "cancelled"]
    assert told == ["by carol"]


def test_a_job_s_id_of_one_s_choice_is_one_s_own(farm: Database) -> None:
    submit(farm, request(submitter="ann"), job_id="night-1")
    with pytest.raises(UsageError, match="night-1 belongs to 'ann', and you are 'bob'"):
        submit(farm, request(submitter="bob"), job_id="night-1")


def test_whoever_submits_here_is_the_user_of_the_process(
    farm: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "somebody")
    monkeypatch.setenv("USER", "somebody")
    job = LocalQueue(farm).submit(request(submitter="spoofed"))
    assert status(farm, job).request.submitter == pwd.getpwuid(os.getuid()).pw_name
    other = LocalQueue(farm, "other")
    with pytest.raises(NotYours, match="you are 'other'"):
        other.cancel(job)
    assert other.recent(9, mine=True) == []
    assert [one.id for one in LocalQueue(farm).recent(9, mine=True)] == [job]
    assert LocalQueue(farm).cancel(job)


def test_a_changed_file_is_another_content(farm: Database, tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(b"one")
    first = submit(farm, request(model=str(model)))
    model.write_bytes(b"two")
    assert submit(farm, request(model=str(model))) != first


def test_simultaneous_submits_of_the_same_are_one(farm: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = set(pool.map(lambda _: submit(farm, request()), range(16)))
    assert len(jobs) == 1


def test_a_repeated_submit_is_the_same_job_for_ever(farm: Database) -> None:
    asked = request()
    assert submit(farm, asked, job_id="mine") == "mine"
    mark_prepared(farm, asked)
    end(farm, "a")
    assert submit(farm, asked, job_id="mine") == "mine"
    with pytest.raises(UsageError, match="another content"):
        submit(farm, request(label="other"), job_id="mine")


def test_a_lost_worker_s_part_goes_back_in_line_and_its_result_counts_no_more(
    farm: Database,
) -> None:
    job = submit_ready(farm)
    first = claim_on(farm, "a")
    assert first is not None
    assert take_back(farm) == []
    expire_leases(farm)
    assert take_back(farm) == [first.part]
    second = claim_on(farm, "a")
    assert second is not None
    assert second.lease.token > first.lease.token
    with farm.begin() as connection:
        assert not accept(connection, first, a_run())
        assert accept(connection, second, a_run())
        assert not accept(connection, second, a_run())
    assert len(results(farm, job)) == 1


def test_a_result_after_the_device_went_to_another_holder_does_not_count(farm: Database) -> None:
    submit_ready(farm)
    first = claim_on(farm, "a")
    assert first is not None
    expire_leases(farm)
    submit_ready(farm)
    assert claim_on(farm, "a") is not None
    with farm.begin() as connection:
        assert not accept(connection, first, a_run())


def test_a_part_under_which_workers_die_is_given_up(farm: Database) -> None:
    job = submit_ready(farm)
    for _ in range(MOST_LOSSES + 1):
        assert claim_on(farm, "a") is not None
        expire_leases(farm)
        take_back(farm)
    ended = status(farm, job)
    assert (ended.outcome, ended.parts[0].failure) == (Outcome.ERROR, "WorkerLost")


def test_a_failed_attempt_is_retried_elsewhere(farm: Database) -> None:
    job = submit_ready(farm)
    claimed = claim_on(farm, "a")
    assert claimed is not None
    with farm.begin() as connection:
        assert retry(connection, claimed, "it fell over", elsewhere=True, numeric=True)
        assert not retry(connection, claimed, "again", elsewhere=True)
    part = status(farm, job).parts[0]
    assert (part.state, part.message) == ("ready", "it fell over")
    again = None
    while again is None:
        assert claim_on(farm, "a") is None
        again = claim_on(farm, "b")
    assert (claimed.attempt, claimed.failures, claimed.differences) == (1, 0, 0)
    assert (again.attempt, again.failures, again.differences) == (2, 1, 1)


def test_cancel_in_line_and_while_it_runs(farm: Database) -> None:
    waiting = submit_ready(farm)
    assert cancel(farm, waiting)
    assert status(farm, waiting).outcome is Outcome.CANCELLED
    assert not cancel(farm, waiting)
    running = submit_ready(farm)
    claimed = claim_on(farm, "a")
    assert claimed is not None
    assert cancel(farm, running)
    assert status(farm, running).state == "running"
    expire_leases(farm)  # its worker died before it heard of it
    take_back(farm)
    assert status(farm, running).outcome is Outcome.CANCELLED


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
def test_a_dependent_goes_on_only_when_the_other_passed(farm: Database, outcome: Outcome) -> None:
    first = submit_ready(farm)
    second = submit_ready(farm, depends_on=first)
    third = submit_ready(farm, depends_on=second)
    end(farm, "a", outcome)
    late = submit_ready(farm, depends_on=first)
    if outcome is Outcome.PASS:
        assert [part.state for part in status(farm, second).parts] == ["ready"]
        assert [part.state for part in status(farm, third).parts] == ["waiting"]
        assert [part.state for part in status(farm, late).parts] == ["ready"]
    else:
        for job in (second, third, late):
            assert status(farm, job).outcome is Outcome.CANCELLED


def test_the_worst_part_is_the_job_s_outcome(farm: Database) -> None:
    job = submit_ready(farm, selector="count=2")
    end(farm, "a")
    claimed = claim_on(farm, "b")
    assert claimed is not None
    with farm.begin() as connection:
        accept(connection, claimed, a_run(Outcome.ERROR, Failure("TransportError", "gone")))
    ended = status(farm, job)
    assert ended.outcome is Outcome.ERROR
    assert ended.parts[1].failure == "TransportError"


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"selector": "tag=z"}, "0 match"),
        ({"selector": "count=4"}, "3 match"),
        ({"depends_on": "nothing"}, "no such job"),
    ],
)
def test_an_impossible_job_is_refused(farm: Database, fields: dict[str, str], match: str) -> None:
    with pytest.raises((NoDevice, UsageError), match=match):
        submit(farm, request(**fields))
    assert recent_jobs(farm) == []


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"target": "nothing"}, "no such target"),
        ({"selector": "target=arm-neon-litert"}, "the job's target is"),
        ({"priority": 1000}, "priority"),
        ({"speed": 1}, "speed"),
        ({"model": ""}, "model"),
        ({"target": "hexagon-litert"}, "needs a chip"),
        ({"target": "hexagon-litert", "soc": "SM1"}, "got SM1"),
        ({"soc": "SM8650"}, "leave out --soc"),
    ],
)
def test_a_wrong_request_names_the_field(fields: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        request(**fields)


def test_an_unknown_job(farm: Database) -> None:
    for call in (status, cancel, results):
        with pytest.raises(UsageError, match="none of this id"):
            call(farm, "nothing")


def test_a_request_survives_the_database(farm: Database) -> None:
    asked = job_request(
        {
            "model": "zoo:m",
            "data": "zoo:m",
            "target": "host-litert",
            "recipe": {"name": "r", "mode": "static", "weight_bits": 8, "activation_bits": 8},
            "limits": {"accuracy": {"min_top1": 0.5}},
        }
    )
    assert status(farm, submit(farm, asked)).request == asked
