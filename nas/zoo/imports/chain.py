"""From a cell back to the genotype that gives it, however the cell is written.

In the canonical form every node k of a genotype is one product, of its gate and of f(a) - s_p, and
its value s_k is the sum of h, this product and those of the nodes that it continues. So the
products in a node's argument are its ancestors, and the coefficients of the output tell which nodes
are averaged.
"""

from dataclasses import dataclass
from fractions import Fraction

from nas.cell import Cell
from nas.cell.canon import terms
from nas.cell.labelling import Terms
from nas.errors import CellError
from nas.zoo.imports.genotype import Genotype, traced

ACTIVATION_OF = {"tanh": "tanh", "sigmoid": "sigmoid", "max": "relu"}
"""Activations by the labels of their terms; relu(a) is max(a, 0) there."""


@dataclass(frozen=True)
class _Product:
    activation: str
    ancestors: frozenset[int]
    """Terms of the products in the node's argument."""


def genotype_of(cell: Cell) -> Genotype | None:
    """The genotype of a cell, its nodes numbered by their distance from x; None if it has none."""
    _, rows, roots = terms(cell)
    products: dict[int, _Product] = {}
    for term, (label, _) in enumerate(rows):
        if label == "product":
            product = _product(rows, term)
            if product is None:
                return None
            products[term] = product
    order = sorted(products, key=lambda term: (len(products[term].ancestors), term))
    place = {term: k for k, term in enumerate(order)}
    parents = [
        max(products[t].ancestors, key=lambda a: len(products[a].ancestors), default=None)
        for t in order
    ]
    if not order or parents.count(None) != 1:
        return None
    recurrent = [
        (products[term].activation, place[parent])
        for term, parent in zip(order, parents, strict=True)
        if parent is not None
    ]
    concat = _averaged(rows, roots[0], order, [k for _, k in recurrent])
    genotype = Genotype(tuple(recurrent), concat, products[order[0]].activation)
    try:
        return genotype if concat and traced(genotype).key == cell.key else None
    except CellError:
        return None


def _parts(rows: Terms, term: int) -> dict[int, float]:
    """A term as numbers times terms."""
    label, args = rows[term]
    return {t: float(edge) for edge, t in args} if label.startswith("sum ") else {term: 1.0}


def _product(rows: Terms, term: int) -> _Product | None:
    """A node, if the product looks like sigmoid(…) times f(…) - s_p; the key decides in the end."""
    factors = [factor for _, factor in rows[term][1]]
    gates = [f for f in factors if rows[f][0] == "sigmoid"]
    rest = [f for f in factors if rows[f][0].startswith("sum ")]
    if len(factors) != 2 or len(gates) != 1 or len(rest) != 1:
        return None
    maps = [t for t in _parts(rows, rows[gates[0]][1][0][1]) if rows[t][0].startswith("learned")]
    read = [arg for t in maps for _, arg in rows[t][1]]
    source = next((s for s in read if rows[s][0] != "input"), None)
    if source is None or len(read) > 2:
        return None
    before = _parts(rows, source)
    new = {rows[t][0].split(" ")[0] for t in _parts(rows, rest[0]) if t not in before}
    if len(new) != 1:
        return None
    label = new.pop()
    activation = "identity" if label == "learned" else ACTIVATION_OF.get(label)
    ancestors = frozenset(t for t in before if rows[t][0] == "product")
    return _Product(activation, ancestors) if activation else None


def _averaged(rows: Terms, y: int, order: list[int], parents: list[int]) -> tuple[int, ...]:
    """The nodes whose mean is y: the coefficient of a product is the share that holds it."""
    in_y = _parts(rows, y)
    shares = [Fraction(abs(in_y.get(term, 0.0))).limit_denominator(10_000) for term in order]
    own = list(shares)
    for k, parent in enumerate(parents, start=1):
        own[parent] -= shares[k]
    return tuple(k for k, share in enumerate(own) if share)
