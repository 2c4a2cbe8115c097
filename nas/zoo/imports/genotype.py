"""Genotypes of DARTS and arcs of ENAS: gated nodes, each of which continues one before it.

The first node reads x and the state, every other one a node before it, its predecessor:

    s0 = h + c * (f(a) - h)           where c = sigmoid(linear(x, h)), a = linear(x, h)
    s  = s_p + c * (f(a) - s_p)       where c = sigmoid(linear(s_p)),  a = linear(s_p)

and the new state is the mean of some of them. No linear map has a bias. The published code keeps
both matrices of a node in one, gate first in DARTS (quark0/darts, rnn/model.py), gate last in ENAS
(melodyguan/enas, google-research/enas_lm); here they are two, so the order makes no difference.
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from nas.cell import Cell, Value, linear, relu, renamed, sigmoid, tanh, trace
from nas.cell.canon import terms
from nas.cell.labelling import Terms
from nas.errors import CellError, unknown

ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "tanh": tanh,
    "relu": relu,
    "sigmoid": sigmoid,
    "identity": lambda a: a,
}
FORMS: dict[str, tuple[str, ...]] = {
    "enas": ("tanh", "relu", "identity", "sigmoid"),
    "enas_lm": ("tanh", "relu", "sigmoid", "identity"),
}
"""The two forms of an ENAS arc: the function of each number."""
PAPERS = {
    "darts": "Liu, Simonyan & Yang 2019, arXiv:1806.09055: a genotype of DARTS.",
    "enas": "Pham et al. 2018, arXiv:1802.03268: an arc of ENAS, as github.com/melodyguan/enas.",
    "enas_lm": "Pham et al. 2018, arXiv:1802.03268: an arc of ENAS, as google-research/enas_lm.",
}
Step = Callable[[Value, Value], Value]


@dataclass(frozen=True)
class Genotype:
    """The function and the predecessor of each node, and the nodes whose mean is the new state."""

    recurrent: tuple[tuple[str, int], ...]
    """(activation, predecessor) of the nodes 1, 2, …; a predecessor is the number of a node."""
    concat: tuple[int, ...]
    """Numbers of the nodes whose mean is the new state."""
    first: str = "tanh"
    """Activation of node 0."""
    form: str = "darts"
    """Its source, a name in PAPERS."""

    @property
    def loose_ends(self) -> tuple[int, ...]:
        """The nodes that no other node continues."""
        continued = {predecessor for _, predecessor in self.recurrent}
        return tuple(k for k in range(len(self.recurrent) + 1) if k not in continued)

    def checked(self) -> "Genotype":
        """Return the genotype if it is sound.

        Raises:
            CellError: naming the node, the rule and the value.
        """
        where = f"{self.form} genotype"
        for k, (activation, predecessor) in enumerate((("", -1), *self.recurrent)):
            function = activation if k else self.first
            if function not in ACTIVATIONS:
                raise CellError(
                    f"{where}: node {k}: {unknown('activation', function, ACTIVATIONS)}"
                )
            if k and not 0 <= predecessor < k:
                raise CellError(
                    f"{where}: node {k} continues a node before it, one of 0 to {k - 1}, got "
                    f"{predecessor}."
                )
        self._check_output(where)
        return self

    def _check_output(self, where: str) -> None:
        last = len(self.recurrent)
        if not self.concat:
            raise CellError(f"{where}: concat must name at least one node, got none.")
        for k in self.concat:
            if not 0 <= k <= last:
                raise CellError(f"{where}: concat names nodes 0 to {last}, got {k}.")
            if self.concat.count(k) > 1:
                raise CellError(f"{where}: concat must name each node once, got {k} twice.")
        for k in self.loose_ends:
            if k not in self.concat:
                raise CellError(
                    f"{where}: nothing uses node {k}: no node continues it and concat does not "
                    "name it; leave it out."
                )


def step(genotype: Genotype) -> Step:
    """The genotype as equations, for `trace`."""

    def cell(x: Value, h: Value) -> Value:
        nodes = [_continued(h, ACTIVATIONS[genotype.first], x, h)]
        _name(nodes[0], 0)
        for k, (activation, predecessor) in enumerate(genotype.recurrent, start=1):
            s = nodes[predecessor]
            nodes.append(_continued(s, ACTIVATIONS[activation], s))
            _name(nodes[k], k)
        first, *rest = (nodes[k] for k in genotype.concat)
        total = first
        for node in rest:
            total = total + node
        return total / len(genotype.concat) if rest else total

    cell.__doc__ = PAPERS[genotype.form]
    return cell


def _continued(s: Value, activation: Callable[[Value], Value], *read: Value) -> Value:
    gate = sigmoid(linear(*read, bias=None))
    return s + gate * (activation(linear(*read, bias=None)) - s)


def _name(node: Value, k: int) -> None:
    node.recorder.rename(node.index, f"s{k}")


def traced(genotype: Genotype) -> Cell:
    """The cell of a genotype, named after its form and its key."""
    cell = trace(step(genotype.checked()), genotype.form)
    return renamed(cell, f"{genotype.form}_{cell.key[:6]}")


def darts(recurrent: object, concat: object) -> Genotype:
    """A genotype of DARTS from its two fields.

    Raises:
        CellError: if one is missing or has another form.
    """
    if not isinstance(recurrent, Iterable) or not isinstance(concat, Iterable):
        raise CellError(
            "a DARTS genotype has the fields recurrent, pairs of an activation and a predecessor, "
            f"and concat, numbers of nodes; got recurrent {recurrent!r} and concat {concat!r}."
        )
    pairs = []
    for pair in recurrent:
        if not (isinstance(pair, Sequence) and len(pair) == 2 and isinstance(pair[0], str)):
            raise CellError(
                f'DARTS genotype: recurrent has pairs such as ("tanh", 0), got {pair!r}.'
            )
        pairs.append((pair[0], _whole(pair[1], "a predecessor")))
    for name, _ in pairs:
        if name == "none":
            raise CellError(
                'DARTS genotype: "none" is a candidate of the search and no activation of a '
                "genotype; choose one of tanh, relu, sigmoid, identity."
            )
    return Genotype(tuple(pairs), tuple(_whole(k, "concat") for k in concat)).checked()


def _whole(value: object, what: str) -> int:
    if type(value) is not int:
        raise CellError(f"genotype: {what} must be a whole number, got {value!r}.")
    return value


def read_genotype(text: str) -> Genotype:
    """A genotype from its line of Python, which is parsed and never executed.

    Raises:
        CellError: if the text is no such line, or the genotype breaks a rule.
    """
    try:
        tree = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = []
    line = tree[0] if len(tree) == 1 else None
    call = line.value if isinstance(line, ast.Assign | ast.Expr) else None
    if not isinstance(call, ast.Call) or call.args:
        raise CellError(
            "a DARTS genotype is one line Genotype(recurrent=[('tanh', 0), …], concat=range(1, 9)),"
            f" got {text.strip()[:60]!r}."
        )
    fields = {item.arg: _literal(item.value) for item in call.keywords}
    for name in fields:
        if name not in ("recurrent", "concat"):
            raise CellError(f'DARTS genotype: no field "{name}". Known: recurrent, concat.')
    return darts(fields.get("recurrent"), fields.get("concat"))


def _literal(value: ast.expr) -> object:
    """A list, a tuple or range(…) of literals."""
    try:
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "range":
            numbers = [_whole(ast.literal_eval(arg), "range") for arg in value.args]
            return list(range(*numbers)) if max(map(abs, numbers)) < 1000 else None
        literal: object = ast.literal_eval(value)
    except (TypeError, ValueError):
        raise CellError(
            f"DARTS genotype: fields are lists of literals or range(…), got {ast.unparse(value)}."
        ) from None
    return literal


def read_arc(arc: object, form: str) -> Genotype:
    """A genotype from an arc of ENAS; the two forms look alike but mean different cells.

    "enas": f0 p1 f1 p2 f2 …, node 0 has a function too and the output is the mean of all loose
    ends. "enas_lm": p1 f1 p2 f2 …, node 0 is tanh and the output is the mean of the nodes 1, 2, ….

    Raises:
        CellError: if the arc has another form or breaks a rule.
    """
    functions = FORMS[form]
    numbers = _numbers(arc, form)
    odd = form == "enas"
    if len(numbers) % 2 != odd or len(numbers) < 2:
        shape = "f0 p1 f1 …, an odd number" if odd else "p1 f1 p2 f2 …, an even number"
        shape += f" of at least {3 if odd else 2}"
        raise CellError(f"{form} arc: it has the form {shape}, got {len(numbers)}.")
    for number in numbers[0 if odd else 1 :: 2]:
        if number not in range(len(functions)):
            known = ", ".join(f"{k} {name}" for k, name in enumerate(functions))
            raise CellError(f"{form} arc: no function {number}. Known: {known}.")
    first, rest = (functions[numbers[0]], numbers[1:]) if odd else ("tanh", numbers)
    pairs = tuple((functions[f], p) for p, f in zip(rest[::2], rest[1::2], strict=True))
    genotype = Genotype(pairs, tuple(range(1, len(pairs) + 1)), first, form)
    if odd:
        genotype = Genotype(pairs, genotype.loose_ends, first, form)
    return genotype.checked()


def _numbers(arc: object, form: str) -> list[int]:
    parts = arc.replace(",", " ").split() if isinstance(arc, str) else arc
    if isinstance(parts, Mapping) or not isinstance(parts, Iterable):
        raise CellError(f"{form} arc: it is a list of whole numbers, got {arc!r}.")
    parts = list(parts)
    for part in parts:
        if isinstance(part, bool) or not (str(part).isascii() and str(part).isdecimal()):
            raise CellError(f"{form} arc: it has whole numbers from 0, got {part!r}.")
    return [int(str(part)) for part in parts]


# --- from a cell back to its genotype ---

ACTIVATION_OF = {"tanh": "tanh", "sigmoid": "sigmoid", "max": "relu"}
"""Activations by the labels of their terms; relu(a) is max(a, 0) there."""


@dataclass(frozen=True)
class _Product:
    activation: str
    ancestors: frozenset[int]
    """Terms of the products in the node's argument."""


def genotype_of(cell: Cell) -> Genotype | None:
    """The genotype of a cell, however it is written; None if it has none.

    In the canonical form every node k of a genotype is one product, of its gate and of f(a) - s_p,
    and its value s_k is the sum of h, this product and those of the nodes that it continues. So the
    products in a node's argument are its ancestors, by whose number nodes are numbered here, and
    the coefficients of the output tell which nodes are averaged.
    """
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
