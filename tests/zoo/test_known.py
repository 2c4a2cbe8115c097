"""The known cells that are tested at once have what any of them has."""

from nas.cell import Cell
from nas.zoo import ZOO
from tests.known import QUICK


def ops(cell: Cell) -> set[str]:
    return {cell.nodes[i].op for i in cell.live}


def test_every_op_of_the_zoo_is_in_a_quick_cell() -> None:
    assert set(QUICK) <= set(ZOO)
    assert set().union(*map(ops, ZOO.values())) == set().union(*(ops(ZOO[name]) for name in QUICK))
