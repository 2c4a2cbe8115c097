"""Nodes of a Ray cluster that die, leave, join or do not fit; and the end of the workers."""

import dataclasses
import re
import time
from pathlib import Path

import pytest
from worker_targets import cut_short, evaluation, eventually

from nas.errors import SearchError
from nas.tasks import Text
from tests.cluster.nodes import ADDRESS, Cluster
from tests.cluster.remote import JOIN_S, RUN, made, only

pytestmark = [pytest.mark.cluster, pytest.mark.process]


def test_closing_without_waiting_is_quick(connected: Cluster, tmp_path: Path) -> None:
    workers = made(60)
    futures = [workers.submit(evaluation("sleep", tmp_path / str(n), 60)) for n in range(6)]
    assert eventually(lambda: all((tmp_path / str(n)).exists() for n in range(2)), 20)
    began = time.monotonic()
    workers.close(wait=False)
    assert time.monotonic() - began < 5
    assert all(cut_short(future) for future in futures)
    with pytest.raises(RuntimeError, match="after shutdown"):
        workers.submit(evaluation())


def test_closing_waits_for_all_work(connected: Cluster) -> None:
    workers = made()
    futures = [workers.submit(evaluation(seed=seed)) for seed in range(5)]
    workers.close(wait=True)
    assert [only(future).best for future in futures] == [0, 1, 2, 3, 4]


def test_nothing_waits_behind_a_long_evaluation(connected: Cluster, tmp_path: Path) -> None:
    """What was handed out to the busy slot is taken back when the other has nothing to do."""
    workers = made(60)
    only(workers.submit(evaluation("sleep", tmp_path / "first", 1.0)))
    workers.submit(evaluation("sleep", tmp_path / "long", 59))
    assert eventually((tmp_path / "long").exists, 20)
    for future in [workers.submit(evaluation(seed=seed)) for seed in range(6)]:
        assert future.result(timeout=30).outcomes[0].status == "ok"
    workers.close(wait=False)


def test_what_runs_is_seen_with_how_far_it_is(connected: Cluster, tmp_path: Path) -> None:
    workers = made(60)
    shares = {0: 0.25, 1: 0.5, 2: 0.75}
    given = [evaluation("show", tmp_path / f"{n}", share, n) for n, share in shares.items()]
    futures = [workers.submit(one) for one in given]

    def seen() -> dict[int, float | None]:
        return {running.seed: look and look.share for running, _, look in workers.looks()}

    assert eventually(lambda: seen() == {0: 0.25, 1: 0.5}, 20), "and not what waits"
    (tmp_path / "0").touch()
    assert eventually(lambda: seen() == {2: 0.75, 1: 0.5}, 20)
    for n in shares:
        (tmp_path / f"{n}").touch()
    assert [only(future).status for future in futures] == ["ok"] * 3
    assert eventually(lambda: workers.looks() == [], 20)
    workers.close(wait=True)


def test_what_a_lost_slot_ran_is_tried_elsewhere(connected: Cluster, tmp_path: Path) -> None:
    with made() as workers:
        outcome = only(workers.submit(evaluation("end_slot", tmp_path / "x", amount=1, seed=7)))
        assert (outcome.status, outcome.best) == ("ok", 7)
        assert (tmp_path / "x").read_text() == "xx"


def test_what_ends_its_slot_each_time_is_crashed(
    connected: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.workers.ray.MOST_LOSSES", 2)
    with made() as workers:
        outcome = only(workers.submit(evaluation("end_slot", tmp_path / "x", amount=9)))
    assert outcome.status == "crashed"
    assert re.match(r"its slot was lost with node .*\(try 2 of 2\)", outcome.message)
    assert (tmp_path / "x").read_text() == "xx"


def test_nodes_may_leave_and_join(connected: Cluster, tmp_path: Path) -> None:
    with made(60) as workers:
        slept = [evaluation("sleep", tmp_path / f"{n}", 2.0, seed=n) for n in range(6)]
        futures = [workers.submit(one) for one in slept]
        assert eventually(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), 20)
        connected.kill_last()
        assert [only(future).best for future in futures] == [0, 1, 2, 3, 4, 5]
        assert eventually(lambda: workers.n_slots == 1, JOIN_S)
        connected.add()
        assert eventually(lambda: workers.n_slots == 2, JOIN_S)
        assert only(workers.submit(evaluation())).status == "ok"


def test_a_node_whose_disk_is_full_is_used_no_more(connected: Cluster) -> None:
    """Here all are, one after the other."""
    with made() as workers:
        with pytest.raises(
            SearchError, match=r"node .* cannot be used, .*the disk is full.*no oth"
        ):
            only(workers.submit(evaluation("fill_disk")))
        assert workers.n_slots == 0


def test_other_versions_are_refused(connected: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.workers.ray import RayWorkers
    from nas.workers.slot import versions

    monkeypatch.setattr("nas.workers.ray.versions", lambda: {**versions(), "torch": "1.0.0"})
    with RayWorkers(ADDRESS, RUN) as workers:
        with pytest.raises(
            SearchError, match=r"cannot be used, it has torch 2\.[\d.]+, not 1\.0\.0 "
        ):
            only(workers.submit(evaluation()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        # There for the coordinator and the head, and it did not travel:
        ("mine.txt", r'cannot be used, .*there is no file "mine\.txt"'),
        # It has travelled, and the coordinator goes on with another one:
        ("worker_targets.py", "its data of the task text are other ones than the"),
    ],
)
def test_other_data_are_refused(
    connected: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("to be or not to be, that is the question. " * 2000)
    mine = dataclasses.replace(evaluation(), task=Text(path=name))
    with made() as workers:
        with pytest.raises(SearchError, match=message):
            only(workers.submit(mine))
