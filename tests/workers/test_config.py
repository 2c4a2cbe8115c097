"""Which workers a configuration means: what is wrong with it is said before anything is started."""

import importlib.util
from pathlib import Path

import pytest
from worker_targets import evaluation

from nas.errors import UserError
from nas.search.search import main
from nas.spaces import load_space
from nas.study.config import definition
from nas.study.parse import parse
from nas.tasks import Arithmetic, Csv, Text
from nas.workers.config import ClusterConfig, address_of, room, travelling
from nas.workers.local import LocalWorkers
from nas.workers.start import check_available, start_workers


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("ray:auto", "auto"),
        ("ray:10.0.0.3:6379", "10.0.0.3:6379"),
        ("ray://head:10001", "ray://head:10001"),
    ],
)
def test_an_address_is_rays(given: str, address: str) -> None:
    assert address_of(str(parse(["quickstart", "--workers", given]).workers)) == address


@pytest.mark.parametrize(
    "given", ["2.5", "ray", "ray:", "ray:head", "ray://", "auto", "slurm:auto"]
)
def test_other_words_are_no_workers(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "--workers", given]) == 2
    assert capsys.readouterr().err == (
        "nas.search: workers must be a whole number, or a cluster: ray:auto, ray:HOST:PORT or "
        f'ray://HOST:PORT, got "{given}".\n'
    )


def test_a_password_in_an_address_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "--workers", "ray://me:hunter2@head:10001"]) == 2
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--cluster.cpus", "0"], r"cluster\.cpus must be positive, got 0"),
        (
            ["--cluster.gpus", "1.5"],
            r"cluster\.gpus must be a part of a GPU or a whole .*, got 1\.5",
        ),
        (["--cluster.gpus", "-1"], r"cluster\.gpus must be a part"),
        (["--cluster.slots", "-1"], r"cluster\.slots must be at least 0, got -1"),
        (
            ["--cluster.files", "/etc/passwd"],
            r'cluster\.files must be .* below .* got "/etc/passwd"',
        ),
        (["--devices", "gpu"], r'devices must be cpu, or GPUs such as cuda:0, got "gpu"'),
        (
            ["--devices", "cpu", "cuda:0"],
            r"devices must be of one kind in a study, got cpu, cuda:0",
        ),
        (["--cluster.files", "no/such.py"], r'cluster\.files must be .* got "no/such\.py"'),
    ],
    ids=str,
)
def test_what_a_slot_cannot_be_is_named(given: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(["quickstart", *given])


def test_without_ray_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "ray" else find(n))
    assert main(["quickstart", "--workers", "ray:auto"]) == 2
    said = "needs Ray: pip install -c constraints.txt -e '.[cluster]'"
    assert capsys.readouterr().err == f"nas.search: --workers ray:auto {said}\n"
    check_available(2)


@pytest.mark.parametrize("address", ["ray:{}", "ray://{}"])
def test_where_nothing_listens_it_is_said_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster at .*127\.0\.0\.1:9 .*ray start --head"):
        start_workers(address.format("127.0.0.1:9"), None, 0.0, ClusterConfig(), ())


def test_files_below_the_working_directory_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.txt", "../other.txt", "mine.py"):
        Path(name).write_text("x")
    tasks = (
        Arithmetic(),
        Text(path="mine.txt"),
        Text(path=""),
        Text(path="tinyshakespeare"),
        Text(path="../other.txt"),
        Csv(path=str(tmp_path / "mine.txt")),
    )
    assert travelling(ClusterConfig(files=("mine.py",)), tasks) == ["mine.py", "mine.txt"]


@pytest.mark.parametrize(
    ("cpus", "gpus", "node", "n_slots"),
    [
        (1.0, 0.0, {"CPU": 4.0}, 4),
        (1.0, 0.0, {"CPU": 4.0, "GPU": 2.0}, 4),
        (2.0, 0.0, {"CPU": 5.0}, 2),
        (1.0, 0.25, {"CPU": 16.0, "GPU": 2.0}, 8),
        (1.0, 0.4, {"CPU": 16.0, "GPU": 2.0}, 4),
        (1.0, 0.1, {"CPU": 16.0, "GPU": 1.0}, 10),
        (1.0, 2.0, {"CPU": 16.0, "GPU": 5.0}, 2),
        (0.5, 1.0, {"CPU": 16.0}, 0),
        (1.0, 0.0, {}, 0),
    ],
)
def test_a_node_has_room_for_whole_slots(
    cpus: float, gpus: float, node: dict[str, float], n_slots: int
) -> None:
    """Parts of two GPUs are none: Ray puts a slot on one."""
    assert room(node, ClusterConfig(cpus=cpus, gpus=gpus)) == n_slots


@pytest.mark.process
def test_a_device_that_is_not_there_is_said_before_anything_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an outcome it would be held against the cells."""
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--devices", "cuda:97"]) == 2
    assert capsys.readouterr().err.startswith("nas.search: --devices cuda:97 cannot be used: ")
    assert not list(tmp_path.iterdir())


def test_devices_are_of_this_machine() -> None:
    with pytest.raises(UserError, match=r"on a cluster, cluster\.gpus says how many GPUs"):
        check_available("ray:auto", ("cuda:0",))


def test_a_study_on_gpus_is_another_one() -> None:
    space = load_space("gates")
    kinds = [
        definition(parse(["quickstart", *given]), space).get("device")
        for given in ([], ["--devices", "cpu"], ["--devices", "cuda:1"], ["--cluster.gpus", "0.5"])
    ]
    assert kinds == [None, None, "cuda", "cuda"]


@pytest.mark.process
def test_evaluations_are_dealt_to_devices() -> None:
    """Names that torch need not know, as what runs here does not train."""
    with LocalWorkers(3, "worker_targets:run", devices=("cuda:0", "cuda:1")) as workers:
        futures = [workers.submit(evaluation("device", amount=1.0, seed=n)) for n in range(3)]
        found = [future.result(timeout=60).outcomes[0].message for future in futures]
    assert sorted(found) == ["cuda:0", "cuda:0", "cuda:1"]
