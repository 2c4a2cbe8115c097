"""Many loops in one run of the compiler: found in the cache, right, and unloaded in the end."""

import collections
import contextlib
import ctypes
import dataclasses
import functools
import random
import shutil
import time
from pathlib import Path

import pytest
import torch

from nas.cell import Cell, loads
from nas.compile import ahead, cache, loop, native
from nas.compile.ahead import compile_ahead
from nas.nn.rnn import RNN
from nas.zoo import ZOO
from tests.compile.compiling import forget, n_compiled, replace, run_together, stored
from tests.compile.test_native import BROKEN, is_gone, maps, replace_text, script
from tests.tensors import seeded
from tests.tolerances import OTHER_KERNEL_32

NAMES = ("lstm", "gru", "gru_v1", "mgu", "rnn")
WIDTHS = (5, 20, 5, 40, 70)
LAYERS = [(ZOO[name], 4, h, torch.float32) for name, h in zip(NAMES, WIDTHS, strict=True)]
has_maps = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")


def outputs(backend: str = "c") -> list[torch.Tensor]:
    return [output(cell, backend, (i, h)) for cell, i, h, _ in LAYERS]


def output(cell: Cell, backend: str, sizes: tuple[int, int]) -> torch.Tensor:
    """y and the gradients of all weights, one after another."""
    rnn = RNN(cell, *sizes, backend=backend)
    rnn.reset_parameters(generator=seeded())
    y = rnn(torch.randn(3, 2, sizes[0], generator=seeded(1)))[0]
    gradients = torch.autograd.grad(y.square().sum(), list(rnn.parameters()))
    return torch.cat([y.detach().flatten(), *(g.flatten() for g in gradients)])


def assert_right() -> None:
    for ours, theirs in zip(outputs(), outputs("eager"), strict=True):
        torch.testing.assert_close(ours, theirs, **OTHER_KERNEL_32)


# --- found in the cache, and right ---


def test_one_run_compiles_many_and_they_are_found(fresh):
    found = []
    assert n_compiled(lambda: found.append(compile_ahead(LAYERS, jobs=1))) == 1
    assert n_compiled(lambda: found.append(compile_ahead(LAYERS, jobs=1))) == 0
    assert found == [len(LAYERS), 0]
    assert n_compiled(assert_right) == 0
    forget()
    assert n_compiled(assert_right) == 0


def test_they_compute_what_they_do_when_compiled_alone(fresh, tmp_path):
    alone = outputs()
    forget()
    fresh.setenv("NAS_CACHE_DIR", str(tmp_path / "another"))
    assert compile_ahead(LAYERS) == len(LAYERS)
    assert all(map(torch.equal, outputs(), alone))


def test_only_what_is_missing_is_compiled_and_once(fresh, tmp_path):
    compile_ahead(LAYERS[:2])
    assert compile_ahead([*LAYERS, *LAYERS]) == len(LAYERS) - 2
    named = dataclasses.replace(LAYERS[0][0], name="another")
    assert compile_ahead([(named, *LAYERS[0][1:])]) == 0, "the same loop under another name"
    assert len(stored(tmp_path / "cache")) == len(LAYERS)


def test_precisions_have_runs_of_their_own(fresh):
    native.library("", True)  # the products
    both = [(*layer[:3], dtype) for layer in LAYERS for dtype in loop.LANES]
    assert n_compiled(lambda: compile_ahead(both, jobs=1)) == 2
    for cell, *sizes, dtype in both:
        assert n_compiled(lambda arguments=(cell, *sizes, dtype): loop.compiled(*arguments)) == 0


@pytest.mark.process
def test_every_known_cell_compiles_together_with_others(fresh):
    layers = [(cell, 16, 16, torch.float32) for cell in ZOO.values()]
    different = {loop.source_of(*layer)[1].text for layer in layers}
    found = []
    runs = -(-len(different) // 32)  # as many as a run of the compiler takes
    assert n_compiled(lambda: found.append(compile_ahead(layers, jobs=1))) == runs
    assert found == [len(different)]


def test_groups_are_bounded_and_complete():
    for n_sources in (1, 31, 32, 33, 100):
        for jobs in (1, 2, 7):
            sources = [str(k) for k in range(n_sources)]
            groups = ahead._split(sources, jobs)
            assert sorted(source for group in groups for source in group) == sorted(sources)
            assert max(map(len, groups)) <= 32
            assert len(groups) >= min(jobs, n_sources)
    assert ahead._split([], 2) == []


def test_several_compilers_run_at_once(fresh, tmp_path):
    """Each waits until the other has begun."""
    text = (
        f'case "$*" in *--version*) exec cc "$@";; esac; mktemp -p {tmp_path} begun.XXX; '
        f'while [ $(ls {tmp_path} | grep -c begun) -lt 2 ]; do sleep 0.02; done; exec cc "$@"'
    )
    fresh.setenv("CC", script(tmp_path, text))
    fresh.setattr(native, "_products", lambda *_: None)
    assert compile_ahead(LAYERS, jobs=2) == len(LAYERS)


def test_sizes_are_checked():
    heads = loads("def heads(x, h):\n    return tanh(linear(x) + block_diagonal(h, blocks=4))\n")
    with pytest.raises(ValueError, match="4 blocks"):
        compile_ahead([(heads, 9, 9, torch.float32)])


# --- the cache ---


def test_one_file_has_many_names(fresh, tmp_path):
    compile_ahead(LAYERS, jobs=1)
    found = stored(tmp_path / "cache")
    assert len({path.stat().st_ino for path in found}) == 1
    assert {path.suffix for path in found} == {".so"}


def test_without_links_there_are_copies(fresh, tmp_path):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    fresh.setattr(Path, "hardlink_to", refuse)
    compile_ahead(LAYERS, jobs=1)
    assert len({path.stat().st_ino for path in stored(tmp_path / "cache")}) == len(LAYERS)
    assert n_compiled(assert_right) == 0


def test_a_damaged_file_is_made_anew_for_each_loop(fresh, tmp_path):
    compile_ahead(LAYERS, jobs=1)
    whole = stored(tmp_path / "cache")[0].read_bytes()
    for path in stored(tmp_path / "cache"):
        replace(path, whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert n_compiled(assert_right) == len(LAYERS)
    forget()
    assert n_compiled(assert_right) == 0


def test_a_library_under_a_wrong_name_is_made_anew(fresh, tmp_path):
    outputs()
    forget()
    one, *others = [path.read_bytes() for path in stored(tmp_path / "cache")]
    for path, content in zip(stored(tmp_path / "cache"), [*others, one], strict=True):
        replace(path, content)
    assert n_compiled(assert_right) == len(LAYERS)


def test_the_bound_counts_loops(fresh, tmp_path):
    fresh.setattr(cache, "CACHED", 3)
    compile_ahead(LAYERS, jobs=1)
    assert len(stored(tmp_path / "cache")) == 3
    assert_right()


SCRIPT = """
import sys, torch, nas
from nas.compile.ahead import compile_ahead
print(flush=True)
sys.stdin.readline()
layers = [(name, int(hidden)) for name, hidden in zip(sys.argv[1::2], sys.argv[2::2])]
compile_ahead([(nas.zoo[name], 4, hidden, torch.float32) for name, hidden in layers])
for name, hidden in layers:
    rnn = nas.RNN(name, 4, hidden, backend="c")
    rnn.reset_parameters(generator=torch.Generator().manual_seed(0))
    print(rnn(torch.ones(3, 2, 4))[0].sum().item())
"""


@pytest.mark.process
def test_processes_compile_the_same_ahead_at_once(fresh, tmp_path, products):
    (tmp_path / "cache").mkdir()
    shutil.copy(products, tmp_path / "cache")
    arguments = [str(word) for pair in zip(NAMES, WIDTHS, strict=True) for word in pair]
    results = set(run_together(SCRIPT, *arguments))
    (printed,) = results
    assert printed.count("\n") == len(NAMES)
    assert len(stored(tmp_path / "cache")) == len(NAMES) + 1  # the products
    assert n_compiled(assert_right) == 0


# --- compilers that do not work ---


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_with_a_broken_compiler_cells_are_right_and_slow(fresh, tmp_path, caplog, text, message):
    fresh.setenv("CC", script(tmp_path, text))
    assert compile_ahead(LAYERS) == 0
    y = [RNN(cell, 4, 5)(torch.ones(3, 2, 4))[0] for cell, *_ in LAYERS]
    assert all(one.isfinite().all() for one in y)
    first, second = caplog.records
    assert first.message.startswith("cells are not compiled ahead: ")
    assert second.message.startswith("cells run on the slow eager backend: ")
    assert "\n" not in first.message


def test_a_compiler_that_hangs_is_killed(fresh, tmp_path, caplog):
    """Whether it hangs at once or for the group alone."""
    said = tmp_path / "pids"
    text = f'case "$*" in *--version*) exec cc "$@";; esac; echo $$ >> {said}; sleep 1000'
    fresh.setenv("CC", script(tmp_path, text))
    fresh.setattr(native, "COMPILE_LIMIT_S", 0.3)
    began = time.monotonic()
    assert compile_ahead(LAYERS, jobs=1) == 0
    fresh.setattr(native, "_products", lambda *_: None)
    assert compile_ahead(LAYERS, jobs=1) == 0
    assert time.monotonic() - began < 5
    assert ["was killed after 0 s" in record.message for record in caplog.records] == [True] * 2
    pids = said.read_text().split()
    assert len(pids) == 2
    assert all(is_gone(int(pid)) for pid in pids)


def test_a_cell_that_does_not_compile_leaves_others_to_be_compiled_alone(fresh, caplog):
    emit = loop.emit

    def broken(plan, **options):
        source = emit(plan, **options)
        return replace_text(source) if plan.cell == ZOO["mgu"] else source

    fresh.setattr(loop, "emit", broken)
    assert compile_ahead(LAYERS, jobs=1) == 0
    (record,) = caplog.records
    assert "failed (loop.c:" in record.message
    fine = [layer for layer in LAYERS if layer[0] != ZOO["mgu"]]
    assert n_compiled(lambda: [output(cell, "c", (i, h)) for cell, i, h, _ in fine]) == len(fine)


def test_a_cache_that_cannot_be_written_is_said(fresh, caplog):
    fresh.setenv("NAS_CACHE_DIR", "/proc/cache")
    assert compile_ahead(LAYERS) == 0
    (record,) = caplog.records
    assert record.message.endswith("the cache /proc/cache cannot be written")
    assert_right()


# --- loaded libraries ---


@has_maps
def test_a_library_of_many_is_unloaded_with_the_last(fresh):
    native.library("void nothing(void) {}\n", False)
    before = maps()
    sources = [f"void f(int *p) {{ *p = {k}; }}\n" for k in range(4)]
    native.compile_together(sources, False)
    kept = [native.library(one, False).function("f", ctypes.c_void_p) for one in sources]
    assert before < maps() <= before + 5, "one library"
    value = ctypes.c_int()
    while kept:
        function = kept.pop()
        function(ctypes.addressof(value))
        assert value.value == len(kept)
        del function
    assert maps() <= before + 1


@pytest.mark.process
@has_maps
def test_maps_stay_bounded_over_ten_thousand_sources(fresh):
    """As many loaded at once as a process keeps loops, in an order that mixes libraries."""
    fresh.setattr(cache, "CACHED", 20_000)
    sources = [f"void f(int *p) {{ *p = {k}; }}\n" for k in range(10_000)]
    for first in range(0, len(sources), 100):
        native.compile_together(sources[first : first + 100], False)
    before, most, value = maps(), 0, ctypes.c_int()
    kept: collections.deque = collections.deque(maxlen=loop._compiled.cache_info().maxsize)
    for k in random.Random(0).sample(range(len(sources)), len(sources)):
        kept.append(native.library(sources[k], False).function("f", ctypes.c_void_p))
        kept[-1](ctypes.addressof(value))
        assert value.value == k
        most = max(most, maps()) if k % 50 == 0 else most
    assert most <= before + 5 * 100 + 20
    kept.clear()
    assert maps() <= before + 20


@pytest.mark.process
@has_maps
def test_maps_stay_bounded_over_many_cells(fresh):
    fresh.setattr(loop, "_compiled", functools.lru_cache(maxsize=16)(loop._compiled.__wrapped__))
    cell = ZOO["rnn"]
    sizes = [(i, h) for i in range(1, 21) for h in range(1, 17)]
    compile_ahead([(cell, *pair, torch.float32) for pair in sizes])
    output(cell, "c", sizes[0])
    before = maps()
    with contextlib.ExitStack() as stack:
        stack.callback(forget)
        for number, pair in enumerate(sizes):
            ours = output(cell, "c", pair)
            if number % 40 == 0:
                expected = output(cell, "eager", pair)
                torch.testing.assert_close(ours, expected, **OTHER_KERNEL_32)
                assert maps() <= before + 5 * 16 + 20
    assert maps() <= before + 5, "forgotten loops are unloaded"
