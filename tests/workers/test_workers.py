"""Workers: what dies, hangs or grows costs an outcome or a retry, and nothing is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from worker_targets import alive, coordinator, cut_short, evaluation, eventually, only

from nas.errors import SearchError, UserError
from nas.workers.local import THREADS, LocalWorkers, n_cores
from nas.workers.worker import KILLED_FIRST, Fault

pytestmark = pytest.mark.process

RUN = "worker_targets:run"
TIME_LIMIT_S = 1.0
LIMIT_BYTES = 200_000_000


@pytest.fixture(scope="module")
def workers() -> Iterator[LocalWorkers]:
    """Two workers for all tests that leave them usable, which is thereby tested as well."""
    with LocalWorkers(2, RUN, time_limit_s=TIME_LIMIT_S) as workers:
        yield workers


def test_each_evaluation_gets_its_own_result(workers: LocalWorkers) -> None:
    threads = set()
    futures = {seed: workers.submit(evaluation(seed=seed, n=1 + seed % 3)) for seed in range(40)}
    for future in futures.values():
        future.add_done_callback(lambda _: threads.add(threading.current_thread().name[:10]))
    results = {seed: future.result(timeout=20) for seed, future in futures.items()}
    assert all(o.best == seed for seed, r in results.items() for o in r.outcomes)
    assert [len(results[seed].outcomes) for seed in range(3)] == [1, 2, 3]
    assert len({o.n_params for r in results.values() for o in r.outcomes}) <= 2
    assert "nas-worker" in threads


@pytest.mark.parametrize("action", ["sleep", "stop"])
def test_the_time_limit_kills(workers: LocalWorkers, tmp_path: Path, action: str) -> None:
    path = tmp_path / "pid"
    only(workers.submit(evaluation()))
    started = time.monotonic()
    result = workers.submit(evaluation(action, path, 60, n=3)).result(timeout=20)
    took_s = time.monotonic() - started
    assert [outcome.status for outcome in result.outcomes] == ["timed out"] * 3
    assert result.outcomes[0].message == "took more than 1 s"
    assert TIME_LIMIT_S < result.outcomes[0].cost.wall_s < took_s, "of all its settings together"
    assert eventually(lambda: not alive(int(path.read_text())), 20)


def test_a_death_is_retried(workers: LocalWorkers, tmp_path: Path) -> None:
    outcome = only(workers.submit(evaluation("die", tmp_path / "tries", amount=2, seed=7)))
    assert (outcome.status, outcome.best) == ("ok", 7)
    assert (tmp_path / "tries").read_text() == "xxx"


def test_deaths_end_as_crashed(workers: LocalWorkers, tmp_path: Path) -> None:
    result = workers.submit(evaluation("die", tmp_path / "tries", amount=9, n=2)).result(timeout=20)
    assert [outcome.status for outcome in result.outcomes] == ["crashed"] * 2
    assert "killed by SIGKILL" in result.outcomes[0].message
    assert "(try 3 of 3)" in result.outcomes[0].message
    assert (tmp_path / "tries").read_text() == "xxx"


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [
        ("fail", "failed", "ValueError: no luck at all"),
        ("leave", "failed", "SystemExit: 3"),
        ("miscount", "failed", "TypeError: worker_targets:run must return a Result of 1 outcomes"),
    ],
)
def test_exceptions_become_outcomes(
    workers: LocalWorkers,
    action: str,
    status: str,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("DEBUG", logger="nas.workers"):
        outcome = only(workers.submit(evaluation(action)))
    assert outcome.status == status
    assert outcome.message.startswith(message)
    assert caplog.text.count("Traceback") == 1  # one try


def test_the_memory_limit_ends_an_evaluation() -> None:
    with LocalWorkers(1, RUN, memory_limit_bytes=LIMIT_BYTES) as workers:
        below = only(workers.submit(evaluation("fill", amount=LIMIT_BYTES / 2)))
        above = only(workers.submit(evaluation("fill", amount=LIMIT_BYTES)))
    assert (below.status, above.status) == ("ok", "out of memory")
    assert above.message == "the worker took more than 200,000,000 bytes"


def test_memory_left_by_others_is_not_held_against_an_evaluation() -> None:
    with LocalWorkers(1, RUN, memory_limit_bytes=LIMIT_BYTES) as workers:
        leaky = only(workers.submit(evaluation("leak", amount=LIMIT_BYTES / 2)))
        after = only(workers.submit(evaluation("fill", amount=LIMIT_BYTES / 2)))
    assert (leaky.status, after.status) == ("ok", "ok")
    assert leaky.n_params != after.n_params


@pytest.mark.parametrize(("wait_s", "max_tries"), [(0.0, 2), (0.5, 1)])
def test_a_worker_that_dies_idle_is_replaced(wait_s: float, max_tries: int) -> None:
    """For free once its death was noticed, and for a try before."""
    with LocalWorkers(1, RUN, max_tries=max_tries) as workers:
        os.kill(only(workers.submit(evaluation())).n_params, signal.SIGKILL)
        time.sleep(wait_s)
        assert only(workers.submit(evaluation())).status == "ok"


def test_a_worker_is_replaced_after_max_served() -> None:
    with LocalWorkers(1, RUN, max_served=2) as workers:
        pids = [only(workers.submit(evaluation())).n_params for _ in range(5)]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_run_that_cannot_be_imported_is_held_against_no_cell() -> None:
    with LocalWorkers(1, "no_such_module:run") as workers, pytest.raises(SearchError) as error:
        workers.submit(evaluation()).result(timeout=20)
    assert "cannot be imported (ModuleNotFoundError: No module named" in str(error.value)
    assert "the same command goes on; nothing is held against the cell." in str(error.value)


def test_memory_that_runs_out_outside_of_training_is_held_against_no_cell(
    workers: LocalWorkers,
) -> None:
    with pytest.raises(SearchError, match="cannot be run, memory ran out, so free"):
        workers.submit(evaluation("deny")).result(timeout=20)


def test_a_worker_that_dies_at_its_start_does_not_spin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    source = f"import os\nopen({str(starts)!r}, 'a').write('x')\nos._exit(3)\n"
    (tmp_path / "crashing.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with LocalWorkers(1, "crashing:run") as workers:
        with pytest.raises(SearchError, match=r"the worker did not start.*the same command goes"):
            only(workers.submit(evaluation()))
    assert len(starts.read_text()) <= 5


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_the_time_limit_is_not_of_the_wall_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """A clock that is set while an evaluation runs neither ends it nor lets it go on for ever."""
    true_time = time.time
    with LocalWorkers(2, RUN, time_limit_s=2.0) as workers:
        long = workers.submit(evaluation("sleep", tmp_path / "long", 60))
        short = workers.submit(evaluation("sleep", tmp_path / "short", 1))
        assert eventually(lambda: (tmp_path / "short").exists(), 20)
        monkeypatch.setattr("time.time", lambda: true_time() + jump_s)
        assert only(short).status == "ok"
        assert long.result(timeout=5).outcomes[0].status == "timed out"


def test_a_worker_that_is_stopped_while_idle_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never says that it has begun, so it is given up as one that is not ready."""
    with LocalWorkers(1, RUN) as workers:
        pid = only(workers.submit(evaluation())).n_params
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr("nas.workers.local.START_LIMIT_S", 1.5)
        outcome = only(workers.submit(evaluation()))
    assert outcome.status == "ok"
    assert outcome.n_params != pid
    assert eventually(lambda: not alive(pid), 1)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_full_disk_is_no_outcome(workers: LocalWorkers, wrapped: bool) -> None:
    """Else a cell would be rejected for good because of what other programs have written."""
    future = workers.submit(evaluation("fill_disk", amount=wrapped))
    with pytest.raises(SearchError, match=r"cannot be run, the disk is full \(.*No space left"):
        only(future)


def test_a_worker_that_does_not_start_after_deaths_is_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker can die so soon that pebble has not heard that it had begun."""
    attempts = iter([Fault("crashed", "died", True), Fault("failed", "no start", True, "", True)])
    with LocalWorkers(1, RUN, max_tries=2) as workers:
        monkeypatch.setattr(workers, "_attempt", lambda *_: next(attempts))
        assert only(workers.submit(evaluation())).status == "crashed"


@pytest.mark.skipif(not KILLED_FIRST.exists(), reason="needs Linux")
def test_workers_are_ended_before_others_when_memory_runs_out(workers: LocalWorkers) -> None:
    pid = only(workers.submit(evaluation())).n_params
    of_worker = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
    assert of_worker == 500 >= int(KILLED_FIRST.read_text())


def test_the_time_that_workers_are_busy_is_counted(tmp_path: Path) -> None:
    with LocalWorkers(2, RUN) as workers:
        for future in [workers.submit(evaluation()) for _ in range(2)]:
            only(future)
        before_s = workers.busy_s
        sleeps = [evaluation("sleep", tmp_path / f"{n}", n / 10) for n in range(1, 4)]
        for future in [workers.submit(one) for one in sleeps]:
            only(future)
    assert workers.busy_s - before_s == pytest.approx(0.6, abs=0.3)


def test_a_worker_that_hangs_at_its_start_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.workers.local.START_LIMIT_S", 0.5)
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with LocalWorkers(1, "hanging:run", max_tries=2) as workers:
        with pytest.raises(SearchError, match=r"it was not ready after 0\.5 s \(try 2 of 2\)\."):
            only(workers.submit(evaluation()))


def test_workers_are_single_threaded_and_the_coordinator_is_not(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(THREADS[0], "7")
    monkeypatch.delenv(THREADS[1], raising=False)
    with LocalWorkers(1, RUN) as fresh:
        assert only(fresh.submit(evaluation("environment"))).message == "1 1 1 1"
    assert os.environ[THREADS[0]] == "7"
    assert THREADS[1] not in os.environ


@pytest.mark.parametrize("action", ["sleep", "stop"])
def test_close_without_waiting_is_quick_and_leaves_nothing(tmp_path: Path, action: str) -> None:
    threads = set(threading.enumerate())
    workers = LocalWorkers(2, RUN)
    paths = [tmp_path / str(seed) for seed in range(6)]
    futures = [workers.submit(evaluation(action, path, 60)) for path in paths]
    assert eventually(lambda: all(p.exists() and p.read_text() for p in paths[:2]), 20)
    pids = [int(path.read_text()) for path in paths[:2]]
    started = time.monotonic()
    workers.close(wait=False)
    assert time.monotonic() - started < 30, "an evaluation takes 60 s"
    workers.close(wait=True)
    assert not any(alive(pid) for pid in pids)
    assert set(threading.enumerate()) <= threads
    assert all(cut_short(future) for future in futures)
    assert [future.cancelled() for future in futures] == [False] * 2 + [True] * 4
    with pytest.raises(RuntimeError, match="after shutdown"):
        workers.submit(evaluation())


def test_close_without_waiting_ends_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = LocalWorkers(1, RUN)
    closing = threading.Thread(target=workers.close, kwargs={"wait": False})

    def close_between_tries(*_: object) -> None:
        closing.start()
        time.sleep(0.3)

    monkeypatch.setattr("nas.workers.local.logger.warning", close_between_tries)
    future = workers.submit(evaluation("die", tmp_path / "tries", amount=1))
    assert eventually(future.done, 20)
    assert cut_short(future)
    closing.join()


def test_close_waits_for_all_work_unless_it_is_called_again(tmp_path: Path) -> None:
    workers = LocalWorkers(1, RUN)
    futures = [workers.submit(evaluation(seed=seed)) for seed in range(3)]
    workers.close(wait=True)
    assert [only(future).best for future in futures] == [0, 1, 2]

    workers = LocalWorkers(1, RUN)
    long = workers.submit(evaluation("sleep", tmp_path / "pid", 60))
    closing = threading.Thread(target=workers.close, kwargs={"wait": True})
    closing.start()
    assert not eventually(lambda: not closing.is_alive(), 0.5)
    workers.close(wait=False)
    closing.join(timeout=2)
    assert not closing.is_alive()
    assert cut_short(long)


def test_leaving_the_block_by_an_exception_does_not_wait(tmp_path: Path) -> None:
    future = (workers := LocalWorkers(1, RUN)).submit(evaluation("sleep", tmp_path / "pid", 60))
    with pytest.raises(KeyError), workers:
        raise KeyError
    assert cut_short(future)


def test_an_interrupt_ends_the_wait_and_the_work(tmp_path: Path) -> None:
    target = threading.main_thread().ident
    assert target

    def interrupt() -> None:
        assert eventually((tmp_path / "pid").exists, 20)  # at work
        time.sleep(0.2)
        signal.pthread_kill(target, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt), LocalWorkers(1, RUN) as workers:
        future = workers.submit(evaluation("sleep", tmp_path / "pid", 60))
    assert cut_short(future)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_does_not_cut_a_launch_short(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever thread the signal reaches: the worker would print a traceback."""
    launched, begun, sent = [], threading.Event(), threading.Event()
    launch = SpawnProcess.start

    def send() -> None:  # a thread from before the launch, so that it masks no signal
        begun.wait()
        signal.pthread_kill(threading.get_ident(), number)
        sent.set()

    def interrupted(process: SpawnProcess) -> None:
        begun.set()
        sent.wait()
        launch(process)
        launched.append(process)

    def handle(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SpawnProcess, "start", interrupted)
    before = signal.signal(number, handle)
    threading.Thread(target=send).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            LocalWorkers(2, RUN)
        assert signal.getsignal(number) is handle
    finally:
        signal.signal(number, before)
    assert len(launched) == 1
    launched[0].kill()


def test_workers_die_with_a_coordinator_that_is_killed(tmp_path: Path) -> None:
    with coordinator(tmp_path, 60) as process:
        assert process.stdout
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert eventually(lambda: len(list(tmp_path.iterdir())) == 2, 20)
        assert [alive(pid) for pid in pids] == [True, True]
        process.kill()
        assert eventually(lambda: not any(map(alive, pids)), 1)


def test_workers_do_not_hear_an_interrupt(tmp_path: Path) -> None:
    """From their first moment on: the terminal sends Ctrl-C to the whole process group."""
    with coordinator(tmp_path, 0.5) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        assert process.stdout.read() == "ok ok\nFalse\n"
        assert process.stderr.read() == ""


def test_an_evaluation_that_cannot_be_pickled_raises_in_submit(workers: LocalWorkers) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        workers.submit(evaluation(lock))  # type: ignore[arg-type]


def test_no_process_is_left_over(workers: LocalWorkers) -> None:
    """All other workers of this file are closed by now."""
    assert eventually(lambda: len(multiprocessing.active_children()) == workers.n_slots, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, r"workers\.n must be positive, got 0"),
        ({"n": 1, "time_limit_s": -1.0}, r"workers\.time_limit_s must be positive, got -1"),
        ({"n": 1, "max_tries": 0}, r"workers\.max_tries must be positive, got 0"),
        ({"n": 1, "run": "nas.train"}, r'must look like "module:function", got "nas.train"'),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LocalWorkers(**arguments)


def test_n_cores_counts_what_this_process_may_use() -> None:
    assert 1 <= n_cores() <= (os.cpu_count() or 1)


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """A worker does not run the main script again, as spawned processes in general do."""
    script = tmp_path / "script.py"
    script.write_text(
        "from worker_targets import evaluation\n"
        "from nas.workers.local import LocalWorkers\n"
        "with LocalWorkers(1, 'worker_targets:run') as workers:\n"
        "    print(workers.submit(evaluation(seed=3)).result(timeout=60).outcomes[0].best)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "3.0\n"), done.stderr
