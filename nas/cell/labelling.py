"""Canonical labelling of a term graph whose parameters carry identity but no name.

Colours start from labels and are refined by the colours of arguments and of users until nothing
changes. Where parameters remain alike, one of them is singled out and refinement goes on; of all
such choices that no symmetry makes equal, the smallest text is kept (individualisation-refinement,
as in McKay & Piperno 2014). Only what a split touches is looked at again (Hopcroft 1971), and a
symmetry that was found spares the choices that it makes equal.
"""

import json
from collections.abc import Iterable, Sequence

from nas.cell.graph import reachable
from nas.errors import CellError

Terms = Sequence[tuple[str, tuple[tuple[str, int], ...]]]
"""For each term its label and its arguments as (edge label, term), in any order."""
Colours = tuple[int, ...]
Symmetry = dict[int, int]
"""A mapping of terms to terms that look alike; terms that are not in it stay."""
MOST_LOOKS = 2_000_000
"""How often terms are looked at, some 4 seconds; a cell of the zoo needs 1,000 at most."""


def canonical_text(terms: Terms, roots: Sequence[int]) -> str:
    """A text that is equal for two term graphs exactly if they are equal up to numbering.

    Every term must be a root or an argument of other terms.

    Raises:
        CellError: if so many terms look alike that this would take too long.
    """
    graph = _Graph(terms, roots)
    return min(graph.leaves(graph.refine(graph.start))[0])


class _Graph:
    def __init__(self, terms: Terms, roots: Sequence[int]) -> None:
        self.labels = [label for label, _ in terms]
        self.args = [args for _, args in terms]
        self.roots = roots
        self.users: list[list[tuple[str, int]]] = [[] for _ in terms]
        for user, args in enumerate(self.args):
            for edge, arg in args:
                self.users[arg].append((edge, user))
        self.beside = [
            {other for _, other in (*args, *users)}
            for args, users in zip(self.args, self.users, strict=True)
        ]
        outputs: list[list[int]] = [[] for _ in terms]
        for place, root in enumerate(roots):
            outputs[root].append(place)
        rows = [json.dumps(row) for row in zip(self.labels, outputs, strict=True)]
        rank = {row: k for k, row in enumerate(sorted(set(rows)))}
        self.start = tuple(rank[row] for row in rows)
        self.n_looks = 0

    def refine(self, colours: Colours, chosen: int | None = None) -> Colours:
        """Colours under which terms of one colour look alike.

        With a `chosen` term, the colours were such before it was singled out.
        """
        now, changed = list(colours), set(range(len(colours)) if chosen is None else (chosen,))
        cells = _by_colour(range(len(colours)), colours)
        while changed:
            self.n_looks += len(now)
            if self.n_looks > MOST_LOOKS:
                raise CellError(
                    "too many parts of the cell look alike to give it a key: leave some out."
                )
            touched = {other for t in changed for other in self.beside[t]}
            split = [self._split(cell, touched, now) for cell in cells]
            changed = {t for parts in split for part in _all_but_largest(parts) for t in part}
            cells = [part for parts in split for part in parts]
            for colour, cell in enumerate(cells):
                for t in cell:
                    now[t] = colour
        return tuple(now)

    def _split(self, cell: list[int], touched: set[int], now: Sequence[int]) -> list[list[int]]:
        """The terms of one colour in groups that look alike; untouched ones do so as before."""
        if len(cell) == 1 or touched.isdisjoint(cell):
            return [cell]
        looks: dict[str, list[int]] = {}
        rest = [t for t in cell if t not in touched]
        for t in (*rest[:1], *(t for t in cell if t in touched)):
            below = sorted((edge, now[arg]) for edge, arg in self.args[t])
            above = sorted((edge, now[user]) for edge, user in self.users[t])
            alike = rest if t in rest[:1] else [t]
            looks.setdefault(repr((now[t], below, above)), []).extend(alike)
        return [looks[look] for look in sorted(looks)]

    def tie(self, colours: Colours) -> list[int]:
        """The first class of parameters that still look alike; empty if there is none."""
        learned = (t for t, label in enumerate(self.labels) if label.startswith("learned"))
        return next((tied for tied in _by_colour(learned, colours) if len(tied) > 1), [])

    def single_out(self, colours: Colours, chosen: int) -> Colours:
        return self.refine(tuple(2 * c + (t != chosen) for t, c in enumerate(colours)), chosen)

    def leaves(self, colours: Colours) -> tuple[dict[str, list[int]], list[Symmetry]]:
        """Texts of all numberings under `colours` that no symmetry makes equal, each with its terms
        in order, and the symmetries that were found."""
        tie, swaps = self.tie(colours), self.swaps(colours)
        if not tie or swaps is not None:
            return dict([self.leaf(colours)]), swaps or []
        found, symmetries = self.leaves(self.single_out(colours, tie[0]))
        known = set(tie[:1])
        for other in tie[1:]:
            known = _orbit(known, symmetries)
            if other in known:
                continue
            known.add(other)
            branch = self.single_out(colours, other)
            text, order = self.leaf(branch)
            if text in found:
                symmetries.append(dict(zip(found[text], order, strict=True)))
            else:
                texts, more = self.leaves(branch)
                found |= texts
                symmetries += more
        return found, symmetries

    def swaps(self, colours: Colours) -> list[Symmetry] | None:
        """The exchanges of equal parts, where what looks alike falls apart into parts of different
        colours each, so that every choice leads to the same text; None where it does not."""
        cells = _by_colour(range(len(colours)), colours)
        alike = {t for cell in cells if len(cell) > 1 for t in cell}
        swaps, seen, last = list[Symmetry](), set[int](), dict[Colours, list[int]]()
        for first in sorted(alike):
            if first in seen:
                continue
            part = reachable([first], lambda t: self.beside[t] & alike)
            seen |= part
            ordered = sorted(part, key=colours.__getitem__)
            kind = tuple(colours[t] for t in ordered)
            if len(set(kind)) < len(kind):
                return None
            pairs = list(zip(last.get(kind, []), ordered, strict=False))
            swaps.append(dict(pairs) | {new: old for old, new in pairs})
            last[kind] = ordered
        return swaps

    def leaf(self, colours: Colours) -> tuple[str, list[int]]:
        """The text of the first numbering under `colours`, and its terms in order."""
        while tie := self.tie(colours):
            colours = self.single_out(colours, tie[0])
        order = sorted(range(len(colours)), key=colours.__getitem__)
        place = {t: k for k, t in enumerate(order)}
        rows = []
        for t in order:
            args = sorted([edge, place[arg]] for edge, arg in self.args[t])
            rows.append([self.labels[t], args])
        return json.dumps([rows, [place[root] for root in self.roots]]), order


def _by_colour(terms: Iterable[int], colours: Colours) -> list[list[int]]:
    """The terms of each colour, in the order of colours."""
    cells: dict[int, list[int]] = {}
    for t in sorted(terms, key=colours.__getitem__):
        cells.setdefault(colours[t], []).append(t)
    return list(cells.values())


def _orbit(terms: Iterable[int], symmetries: Sequence[Symmetry]) -> set[int]:
    """The terms, and those to which symmetries take them."""
    return reachable(terms, lambda t: [s[t] for s in symmetries if t in s])


def _all_but_largest(parts: list[list[int]]) -> list[list[int]]:
    return sorted(parts, key=len)[:-1]


def reached(terms: Terms, roots: Sequence[int]) -> list[int]:
    """The terms on which the roots depend, in order."""
    return sorted(reachable(roots, lambda term: [arg for _, arg in terms[term][1]]))
