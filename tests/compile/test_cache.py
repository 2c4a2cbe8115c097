"""Caches of compiled loops that are damaged, full or shared: never a wrong number."""

import functools
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from nas.compile import cache, native
from nas.nn.rnn import RNN
from tests.compile.compiling import (
    X,
    assert_right,
    expected,
    forget,
    n_compiled,
    output,
    refuse,
    replace,
    run_together,
    stored,
)
from tests.tolerances import OTHER_KERNEL_32


def test_a_loop_is_compiled_once(fresh, tmp_path):
    assert n_compiled(assert_right) == 1
    assert n_compiled(assert_right) == 0
    forget()
    assert n_compiled(assert_right) == 0
    assert [path.suffix for path in stored(tmp_path / "cache")] == [".so"]


def test_the_products_that_loops_share_are_compiled_once(fresh):
    native._products.cache_clear()
    assert n_compiled(assert_right) == 2
    forget()
    native._products.cache_clear()
    assert n_compiled(assert_right) == 0


def test_precisions_and_sizes_are_apart(fresh):
    assert_right()
    """At 16 features the text is the same in both precisions."""
    native.library("", True)  # the products
    x = torch.zeros(3, 2, 16)
    assert n_compiled(lambda: RNN("gru", 16, 16, backend="c")(x)) == 1
    double = RNN("gru", 16, 16, backend="c", dtype=torch.float64)
    assert n_compiled(lambda: double(x.double())) == 1
    assert n_compiled(lambda: RNN("gru", 16, 6, backend="c")(x)) == 1


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "a byte": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    "text": lambda content: b"not a library",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_library_is_made_anew(fresh, tmp_path, damage):
    assert_right()
    forget()
    for path in stored(tmp_path / "cache"):
        replace(path, damage(path.read_bytes()))
    assert n_compiled(assert_right) == 1
    forget()
    assert n_compiled(assert_right) == 0


def test_a_library_of_another_machine_is_made_anew(fresh, tmp_path):
    """Whole, but it cannot be loaded: as one for another processor on a shared disk."""
    assert_right()
    forget()
    for path in stored(tmp_path / "cache"):
        content = b"\x7fELF of another machine"
        replace(path, content + hashlib.sha256(content).digest())
    assert n_compiled(assert_right) == 1


PLACES = {
    "a file": "/etc/hostname",
    "below a file": "/etc/hostname/cache",
    "read-only": "/proc/cache",
    "relative": "loops",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_cache_that_cannot_be_written_is_done_without(fresh, tmp_path, place):
    fresh.chdir(tmp_path)
    fresh.setenv("NAS_CACHE_DIR", place)
    assert_right()


def test_a_read_only_cache_is_read(fresh, tmp_path):
    assert_right()
    forget()
    refused = functools.partial(refuse, OSError(30, "Read-only file system"))
    fresh.setattr(cache.os, "utime", refused)
    fresh.setattr(Path, "write_bytes", refused)
    assert n_compiled(assert_right) == 0


def test_a_full_disk_leaves_nothing_behind(fresh, tmp_path):
    def fill(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    fresh.setattr(Path, "write_bytes", fill)
    assert_right()
    assert stored(tmp_path / "cache") == []


def test_without_a_home_there_is_no_cache(fresh):
    fresh.delenv("NAS_CACHE_DIR")
    fresh.delenv("XDG_CACHE_HOME", raising=False)
    fresh.setattr(Path, "home", functools.partial(refuse, RuntimeError("no home")))
    assert cache.cache_folder() is None
    assert_right()


def test_the_place_of_the_cache(fresh, tmp_path):
    assert cache.cache_folder() == tmp_path / "cache"
    fresh.delenv("NAS_CACHE_DIR")
    fresh.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "nas"
    fresh.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "nas"


@pytest.mark.parametrize("which", ["the folder", "the file"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can give a file away")
def test_a_library_of_another_user_is_not_loaded(fresh, tmp_path, caplog, which):
    """Though its hash is right and its name fits."""
    assert_right()
    forget()
    given = [tmp_path / "cache"] if which == "the folder" else stored(tmp_path / "cache")
    for path in given:
        os.chown(path, 4711, -1)
    assert n_compiled(assert_right) == 1
    assert caplog.text.count("other users can write there or own them") == 1
    forget()
    replaced = which == "the file"  # by one of our own
    assert n_compiled(assert_right) == (0 if replaced else 1)


def kept(folder: Path) -> Path:
    """A library of our own in a cache."""
    made, path = folder.parent.parent / "made.so", folder / "loop-1.so"
    made.write_bytes(b"a library")
    assert cache.store(made, [path])
    assert cache.is_whole(path)
    return path


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
@pytest.mark.parametrize("which", ["the folder", "the file", "a folder above"])
def test_what_others_can_write_is_neither_loaded_nor_stored(fresh, tmp_path, which, mode):
    folder = tmp_path / "shared" / "cache"
    path = kept(folder)
    paths = {"the folder": folder, "the file": path, "a folder above": folder.parent}
    paths[which].chmod(mode)
    fine = which == "a folder above" and mode != 0o777  # as /tmp is, and a group of one's own
    assert cache.is_whole(path) is fine
    stores = fine or which == "the file"
    assert cache.store(tmp_path / "made.so", [folder / "loop-2.so"]) is stores


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_the_cache_is_the_users_alone_whatever_the_umask(fresh, tmp_path, umask):
    before = os.umask(umask)
    try:
        path = kept(tmp_path / "new" / "cache")
        fresh.setattr(Path, "hardlink_to", functools.partial(refuse, OSError("no links here")))
        again = [path.with_name(f"loop-{k}.so") for k in range(2)]
        assert cache.store(tmp_path / "made.so", again)
        assert all(map(cache.is_whole, again))
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_the_default_folder_of_an_earlier_nas_is_closed(fresh, tmp_path):
    fresh.delenv("NAS_CACHE_DIR")
    folder = tmp_path / "home" / "nas"
    folder.mkdir(parents=True)
    folder.chmod(0o775)
    kept(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_cache_is_bounded_and_keeps_what_is_used(fresh, tmp_path):
    fresh.setattr(cache, "CACHED", 3)
    assert_right()
    used = {path.name for path in stored(tmp_path / "cache")}
    other = tmp_path / "cache" / "mine.so"
    other.write_bytes(b"of the user")
    for k in range(5):
        (tmp_path / "cache" / f"loop-{k}.so").write_bytes(b"old")
        os.utime(tmp_path / "cache" / f"loop-{k}.so", (k, k))
    RNN("gru", 4, 6, backend="c")(X)
    found = {path.name for path in stored(tmp_path / "cache")}
    assert used < found
    assert len(found) == 3 + 1
    assert other.name in found


SCRIPT = """
import sys, time, torch, nas
print(flush=True)
sys.stdin.readline()
torch.manual_seed(0)
rnn = nas.RNN("lstm", 4, 5, backend="c")
print(rnn(torch.ones(3, 2, 4))[0].sum().item())
"""


@pytest.mark.process
def test_processes_compile_the_same_at_once(fresh, tmp_path, products):
    (tmp_path / "cache").mkdir()
    shutil.copy(products, tmp_path / "cache")
    results = set(run_together(SCRIPT))
    assert len(results) == 1
    assert [path.suffix for path in stored(tmp_path / "cache")] == [".so", ".so"]


def test_threads_compile_the_same_at_once(fresh, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: output(), range(4)):
            torch.testing.assert_close(y, expected(), **OTHER_KERNEL_32)
