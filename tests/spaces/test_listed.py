"""Spaces of given cells: the nine of the LSTM odyssey, and lists of one's own."""

import re
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.spaces import load_space
from nas.testing.spaces import check_space
from nas.zoo import ZOO

NINE = ("peephole", "nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr")


def listed(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_odyssey_has_the_nine_cells_of_greff() -> None:
    space, gates = load_space("odyssey"), load_space("gates")
    check_space(space, [ZOO[f"lstm_{name}"] for name in NINE])
    assert space.size() == 9
    assert not space.contains(ZOO["gru"])
    assert all(gates.contains(ZOO[f"lstm_{name}"]) for name in NINE)


def test_a_list_of_names_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.cell").write_text("def mine(x, h):\n    return sin(linear(x, h))\n")
    path = listed(tmp_path, f"kind: cells\ncells: [gru, {tmp_path / 'mine.cell'}]\n")
    space = load_space(str(path))
    check_space(space, [ZOO["gru"]])
    assert "2 given cells, gru, mine" in space.describe()
    assert space.version != load_space("odyssey").version


def test_a_single_cell_is_not_asked_for(tmp_path: Path) -> None:
    space = load_space(str(listed(tmp_path, "kind: cells\ncells: gru\n")))
    check_space(space, [ZOO["gru"]])
    assert space.params_of(ZOO["gru"]) == {}


BROKEN = {
    "field": ("kind: cells\ncell: [gru]", 'no field "cell". Did you mean "cells"?'),
    "none": ("kind: cells", "cells must name at least one cell, got none."),
    "unknown": ("kind: cells\ncells: [gruu]", 'cells: no cell "gruu". Did you mean "gru"?'),
    "number": ("kind: cells\ncells: [5]", "cells must be text, got 5."),
    "same": (
        "kind: cells\ncells: [lstm, lstm_np]",
        "cells must be different, but lstm_np is lstm as well.",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"mine.yaml: {re.escape(message)}"):
        load_space(str(listed(tmp_path, text)))


def test_two_cells_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "gru.cell").write_text("def gru(x, h):\n    return sin(linear(x, h))\n")
    path = listed(tmp_path, f"kind: cells\ncells: [gru, {tmp_path / 'gru.cell'}]\n")
    with pytest.raises(UserError, match=r"cells must have a name each, got gru twice\."):
        load_space(str(path))
