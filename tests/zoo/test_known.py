"""The known cells that are tested at once have what any of them has."""

from nas.cell import Cell
from nas.zoo import ZOO
from tests.known import FEW, QUICK


def ops(cell: Cell) -> set[str]:
    return {cell.nodes[i].op for i in cell.live}


def test_every_op_of_the_zoo_is_in_a_quick_cell() -> None:
    assert set(QUICK) <= set(ZOO)
    assert set().union(*map(ops, ZOO.values())) == set().union(*(ops(ZOO[name]) for name in QUICK))


def kinds(cell: Cell) -> set[tuple[str, object]]:
    def kind(width: object) -> object:
        return width if isinstance(width, str) else "a number"

    return {
        ("states", len(cell.states)),
        ("reads the layer below", bool(cell.verticals)),
        ("needs equal widths", cell.needs_equal_widths),
        *(("a state's width", kind(state.width)) for state in cell.states),
        *(("a value's width", kind(cell.widths[i])) for i in cell.live),
    }


def test_every_kind_of_a_quick_cell_is_among_the_few() -> None:
    assert set(FEW) <= set(QUICK)
    few, quick = (set().union(*(kinds(ZOO[name]) for name in names)) for names in (FEW, QUICK))
    assert few == quick
