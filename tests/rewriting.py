"""Other ways to write a cell: random use of the identities that `nas/cell/canon.py` lists.

A cell becomes a graph of mutable terms, a rule replaces a term by another of the same value, and
the graph becomes a cell again. Learned nodes are called `p3`, with `q1q2` for the parts they hold
(see `tests/interpreter.py`), so that parameters keep their values through every rule.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from nas.cell import Cell, Node, node
from nas.cell.graph import Width
from nas.cell.ops import INPUTS, AttrValue
from tests.interpreter import learns


@dataclass(eq=False)
class Term:
    op: str
    args: list["Term"]
    width: Width
    attrs: dict[str, AttrValue] = field(default_factory=dict)
    name: str = ""


Rule = Callable[[Term, Random], Term | None]


def number(value: float) -> Term:
    return Term("constant", [], 1, {"value": value})


def term(op: str, *args: Term) -> Term:
    widths = {arg.width for arg in args} - {1} or {1}
    return Term(op, list(args), widths.pop() if len(widths) == 1 else "hidden")


# The rules: each gives another form of a term, or nothing if it does not apply.


def commute(t: Term, rng: Random) -> Term | None:
    if t.op in ("add", "mul", "max", "min"):
        return replace(t, args=t.args[::-1])
    if t.op != "linear":
        return None
    root, *parts = t.name.split("q")
    order = rng.sample(range(len(parts)), len(parts))
    name = "q".join([root, *(parts[k] for k in order)])
    return replace(t, args=[t.args[k] for k in order], name=name)


def split(t: Term, rng: Random) -> Term | None:
    """linear(a, b, bias=k) = linear(a, bias=None) + linear(b, bias=None) + vector(k)"""
    if t.op != "linear":
        return None
    root, *parts = t.name.split("q")
    addends = [
        replace(t, args=[arg], attrs=t.attrs | {"bias": None}, name=f"{root}q{part}")
        for arg, part in zip(t.args, parts, strict=True)
    ]
    if t.attrs["bias"] is not None:
        attrs = {"init": t.attrs["bias"], "width": t.attrs["width"]}
        addends.append(Term("vector", [], t.width, attrs, f"{root}q0"))
    rng.shuffle(addends)
    total = addends[0]
    for addend in addends[1:]:
        total = term("add", total, addend)
    return total


def expand(t: Term, rng: Random) -> Term | None:
    one = number(1.0)
    match t.op, t.args:
        case "sub", [a, b]:
            return term("add", a, term("neg", b))
        case "add", [a, b]:
            return term("sub", a, term("neg", b))
        case "div", [a, b]:
            return term("mul", a, term("div", one, b))
        case "square", [a]:
            return term("mul", a, a)
        case "mul", [a, b] if a is b:
            return term("square", a)
        case "blend", [a, b, c]:
            return term("add", term("mul", a, b), term("mul", term("sub", one, a), c))
        case "silu", [a]:
            return term("mul", a, term("sigmoid", a))
        case "relu", [a]:
            return term("max", a, number(0.0))
        case "neg", [a]:
            return term("sub", number(0.0), a) if rng.random() < 0.5 else term("mul", number(-1), a)
    return None


def reassociate(t: Term, rng: Random) -> Term | None:
    """(a + b) + c = a + (b + c); not for a negative factor, see the docstring of canon.py."""
    if t.op not in ("add", "mul", "max", "min") or t.args[0].op != t.op:
        return None
    (a, b), c = t.args[0].args, t.args[1]
    if t.op == "mul" and any(f.op == "constant" and f.attrs["value"] < 0 for f in (a, b, c)):
        return None
    return term(t.op, a, term(t.op, b, c))


def distribute(t: Term, rng: Random) -> Term | None:
    """k * (a + b) = k*a + k*b"""
    if t.op == "neg" and t.args[0].op == "add":
        return term("add", *(term("neg", a) for a in t.args[0].args))
    if t.op != "mul" or t.args[0].op != "constant" or t.args[1].op not in ("add", "sub"):
        return None
    k, inner = t.args
    if k.attrs["value"] < 0:
        return None
    return term(inner.op, *(term("mul", k, a) for a in inner.args))


def wrap(t: Term, rng: Random) -> Term | None:
    zero, one, two = number(0.0), number(1.0), number(2.0)
    forms: list[Callable[[], Term]] = [
        lambda: term("neg", term("neg", t)),
        lambda: term("mul", t, one),
        lambda: term("add", zero, t),
        lambda: term("sub", t, zero),
        lambda: term("div", t, one),
        lambda: term("sub", one, term("sub", one, t)),
        lambda: term("max", t, t),
        lambda: term("min", t, t),
        lambda: term("add", term("mul", number(0.25), t), term("mul", number(0.75), t)),
        lambda: term("sub", term("mul", t, number(3.0)), term("add", t, t)),
        lambda: term("div", term("mul", two, t), two),
        lambda: term("mul", number(0.5), term("add", t, t)),
        lambda: term("add", t, term("mul", zero, number(7.0))),
        lambda: term("add", term("sub", t, number(0.3)), number(0.3)),
    ]
    return rng.choice(forms)()


FOLDS = {0.0: ("tanh", 0.0), 1.0: ("exp", 0.0), 0.5: ("sigmoid", 0.0), 2.0: ("sqrt", 4.0)}


def unfold(t: Term, rng: Random) -> Term | None:
    """f(k) = its value"""
    if t.op != "constant":
        return None
    k = t.attrs["value"]
    if k in FOLDS and rng.random() < 0.5:
        op, argument = FOLDS[k]
        return term(op, number(argument))
    return rng.choice(
        (
            term("add", number(k - 1), number(1.0)),
            term("mul", number(2 * k), number(0.5)),
            term("neg", number(-k)),
            term("max", number(k), number(k - 1)),
            term("min", number(k), number(k + 1)),
        )
    )


RULES: tuple[Rule, ...] = (
    *(commute, split, expand, reassociate, distribute, unfold),
    *(wrap, wrap),
)


# Between cells and terms.


def named(cell: Cell) -> Cell:
    """The same cell with its learned nodes named after their parameters, not arranged."""
    return rewrite(cell, Random(0), 0)


def rewrite(cell: Cell, rng: Random, n_rules: int = 10) -> Cell:
    """Another form of the same cell: other nodes in another order, dead nodes and other names."""
    terms = _terms(cell)
    outputs = [terms[i] for i in cell.outputs]
    inputs = [t for t in terms if t.op in INPUTS]
    for _ in range(n_rules):
        inside = [t for t in _ordered(outputs) if t.op not in INPUTS]
        if not inside:
            break
        old = rng.choice(inside)
        new = next((new for rule in _shuffled(rng) if (new := rule(old, rng))), None)
        if not learns(node(old.op)) and rng.random() < 0.3:
            new = replace(old, args=list(old.args))
        assert new is not None  # `wrap` always applies
        _replace(inside, outputs, old, new, rng)
    if n_rules:
        dead = [term(rng.choice(("tanh", "neg")), rng.choice(terms)) for _ in range(3)]
        outputs_and_dead = [*inputs, *rng.sample([*outputs, *dead], len(outputs) + 3)]
    else:
        outputs_and_dead = [*inputs, *outputs]
    return _cell(cell, _ordered(outputs_and_dead), outputs, rng if n_rules else None)


def _shuffled(rng: Random) -> list[Rule]:
    return rng.sample(RULES, len(RULES))


def _replace(inside: list[Term], outputs: list[Term], old: Term, new: Term, rng: Random) -> None:
    """Put `new` in the place of `old`, in one place alone at times if `old` has no parameters."""
    everywhere = learns(node(old.op)) or rng.random() < 0.6
    places = [(t.args, k) for t in inside for k, arg in enumerate(t.args) if arg is old]
    places += [(outputs, k) for k, out in enumerate(outputs) if out is old]
    for holder, k in places if everywhere else [rng.choice(places)]:
        holder[k] = new


def _terms(cell: Cell) -> list[Term]:
    terms: list[Term] = []
    for i, n in enumerate(cell.nodes):
        name = n.name
        if learns(n):
            parts = range(1, len(n.args) + 1) if n.op == "linear" else ()
            name = f"p{i}" + "".join(f"q{part}" for part in parts)
        args = [terms[arg] for arg in n.args]
        terms.append(Term(n.op, args, cell.widths[i], dict(n.attrs), name))
    return terms


def _ordered(roots: list[Term]) -> list[Term]:
    """All terms under the roots, arguments first."""
    order: list[Term] = []
    seen: set[int] = set()

    def visit(t: Term) -> None:
        if id(t) not in seen:
            seen.add(id(t))
            for arg in t.args:
                visit(arg)
            order.append(t)

    for root in roots:
        visit(root)
    return order


def _cell(cell: Cell, order: list[Term], outputs: list[Term], rng: Random | None) -> Cell:
    place = {id(t): k for k, t in enumerate(order)}
    nodes: list[Node] = []
    for k, t in enumerate(order):
        name = t.name
        if rng and not learns(node(t.op)):
            name = f"n{k}" if t.op in INPUTS or rng.random() < 0.5 else ""
        args = (place[id(arg)] for arg in t.args)
        nodes.append(node(t.op, *args, name=name, **t.attrs))
    y, *rest = [place[id(out)] for out in outputs]
    n_states = len(cell.states)
    return Cell(cell.name, tuple(nodes), y, tuple(rest[:n_states]), tuple(rest[n_states:]))
