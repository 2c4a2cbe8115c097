"""What the doctor says of a machine that lacks something."""

import http.server
import io
import json
import sqlite3
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from nas import doctor
from nas.doctor import KNOWN, Finding, check_data, main, show
from nas.tasks.files import Pinned
from tests.studies import ROOT


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_compiler_must_compile_a_function_that_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    assert only(doctor.check_compiler()).state == "there"
    monkeypatch.setenv("CC", "false")
    found = only(doctor.check_compiler())
    assert (found.state, found.needed) == ("broken", False)
    assert "exit code 1" in found.detail
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(doctor.check_compiler()).state == "missing"
    assert "gcc" in only(doctor.check_compiler()).advice


def test_a_compiler_that_makes_something_else_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SOURCE", doctor.SOURCE.replace("a * b", "a + b"))
    assert "6 times 7 is 13" in only(doctor.check_compiler()).detail


@pytest.mark.process
def test_no_search_runs_without_torch_or_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TORCH", "import nothing_of_this_name")
    found = only(doctor.check_torch())
    assert found.prevents_searches
    assert "nothing_of_this_name" in found.detail
    monkeypatch.setattr(doctor, "NEEDED", ("optuna", "no-such-package"))
    found = only(doctor.check_needed())
    assert found.prevents_searches
    assert (found.detail, found.advice) == ("no no-such-package", "pip install no-such-package")


@pytest.mark.process
def test_gpus_are_told_from_what_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "n_cores", lambda: 16)
    h200 = {"name": "H200", "free": 120 << 30, "total": 140 << 30, "capability": 90}
    gpus = [h200, {"name": "?", "error": "busy"}]
    lines = ["2.13", *map(json.dumps, gpus)]
    monkeypatch.setattr(doctor, "TORCH", f"print({chr(10).join(lines)!r})")
    torch, gpu, other = doctor.check_torch()
    assert (torch.detail, gpu.state) == ("2.13", "there")
    assert "cuda:0 H200 (120 of 140 GiB are free): --devices cuda:0 trains 4 cells" in gpu.detail
    assert "14.0 GiB" in gpu.detail, "0.4 of a quarter of 140"
    assert "kernels of their own where they fit" in gpu.detail
    assert "kernels need compute capability 8.0" in doctor._loops(75)
    assert (other.state, other.prevents_searches) == ("broken", False), "the CPU is there"
    assert "cuda:1: busy" in other.detail
    monkeypatch.setattr(doctor, "TORCH", "print('2.13')")
    assert [found.state for found in doctor.check_torch()] == ["there", "missing"]


def test_a_folder_that_takes_no_database_prevents_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only(doctor.check_folder()).state == "there"
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"

    def refuse(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("sqlite3.connect", refuse)
    found = only(doctor.check_folder())
    assert found.prevents_searches
    assert "disk I/O error" in found.detail


class _Locked(http.server.BaseHTTPRequestHandler):
    """A tracking server that wants a password."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_tracking_server_is_asked_and_a_database_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "mlflow.db, which will be made" in only(doctor.check_tracking()).detail
    (tmp_path / "mlflow.db").touch()
    assert "mlflow.db, which is there" in only(doctor.check_tracking()).detail
    with http.server.HTTPServer(("127.0.0.1", 0), _Locked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:pw@127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        found = only(doctor.check_tracking())
        server.shutdown()
    assert "pw" not in found.detail
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    found = only(doctor.check_tracking())
    assert (found.state, found.needed) == ("broken", False)
    assert "--tracking-uri off" in found.advice
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:/there")
    assert "file store" in only(doctor.check_tracking()).detail


def test_files_of_data_are_looked_for_and_their_content_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of "abc", FIPS 180-2.
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    monkeypatch.setattr("nas.tasks.files._cache", lambda: tmp_path / "none")
    monkeypatch.setattr("nas.doctor.KNOWN", {"x": (Pinned("x.txt", "http://x", sha256),)})
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    found = only(check_data())
    assert found.state == "missing"
    assert found.advice.splitlines()[1:] == ["http://x"]
    (tmp_path / "x.txt").write_text("abc")
    assert only(check_data()).state == "there"
    (tmp_path / "x.txt").write_text("abd")
    assert only(check_data()).state == "broken"
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path / "nowhere"))
    assert [found.name for found in check_data()] == ["NAS_DATA_DIR", "x"]


def test_the_addresses_of_all_missing_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tuple(Pinned(f"{name}.txt", f"http://{name}", "0" * 64) for name in ("x", "y", "z"))
    monkeypatch.setattr("nas.tasks.files._cache", lambda: tmp_path / "none")
    monkeypatch.setattr("nas.doctor.KNOWN", {"three": files})
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    (tmp_path / "y.txt").write_text("here")
    found = only(check_data())
    assert found.detail.startswith("x.txt, z.txt: ")
    assert found.advice.splitlines()[1:] == ["http://x", "http://z"]


def test_every_pinned_file_is_looked_for() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "nas" / "tasks").glob("*.py"))
    assert sum(map(len, KNOWN.values())) == sources.count(": Pinned(")


def test_what_is_to_be_installed_is_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {line for extra in project["optional-dependencies"].values() for line in extra}
    for module, (package, _) in doctor.OPTIONAL.items():
        assert package in wanted or module == "matplotlib"
    assert set(doctor.NEEDED) <= {
        line.partition(">")[0].partition("[")[0] for line in project["dependencies"]
    }


THERE = Finding("a", "there", "is [here]", needed=True)
BROKEN = Finding("b", "broken", "is not", "mend it", needed=True)


def test_the_exit_code_says_whether_a_search_can_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([THERE]),))
    assert main(["--json"]) == 0
    assert [Finding(**fields) for fields in json.loads(capsys.readouterr().out)] == [THERE]
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([THERE, BROKEN]),))
    assert main([]) == 1
    told = capsys.readouterr().out
    assert "No search can run here: see b" in told
    assert "is [here]" in told


def test_a_long_address_is_shown_whole() -> None:
    text = io.StringIO()
    first, second = (f"https://{letter * 90}/end" for letter in "xy")
    finding = Finding("a", "missing", "no " * 30 + "file", f"they are at\n{first}\n{second}")
    show([finding], Console(file=text, width=60))
    lines = [line.strip() for line in text.getvalue().splitlines() if line.strip()]
    assert {first, second} <= set(lines), "an address that is cut cannot be copied"
    assert max(len(line) for line in lines if line not in (first, second)) <= 60
    assert lines[-2:] == [second, "A search can run here."]


def test_no_colours_without_asking(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([BROKEN]),))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    main([])
    assert "\x1b[31m" in capsys.readouterr().out
    main(["--no-color"])
    assert "\x1b[31m" not in capsys.readouterr().out
