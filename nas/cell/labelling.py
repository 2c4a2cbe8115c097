"""Canonical labelling of a term graph whose parameters carry identity but no name.

Colours start from labels and are refined by the colours of arguments and of users until nothing
changes. Where parameters remain alike, one of them is singled out and refinement goes on; of all
such choices that no symmetry makes equal, the smallest text is kept (individualisation-refinement,
as in McKay & Piperno 2014).
"""

import json
from collections.abc import Sequence

from nas.cell.graph import reachable

Terms = Sequence[tuple[str, tuple[tuple[str, int], ...]]]
"""For each term its label and its arguments as (edge label, term), in any order."""
Colours = tuple[int, ...]


def canonical_text(terms: Terms, roots: Sequence[int]) -> str:
    """A text that is equal for two term graphs exactly if they are equal up to numbering.

    Every term must be a root or an argument of other terms.
    """
    graph = _Graph(terms, roots)
    return min(graph.leaves(graph.start))


class _Graph:
    def __init__(self, terms: Terms, roots: Sequence[int]) -> None:
        self.labels = [label for label, _ in terms]
        self.args = [args for _, args in terms]
        self.roots = roots
        self.users: list[list[tuple[str, int]]] = [[] for _ in terms]
        for user, args in enumerate(self.args):
            for edge, arg in args:
                self.users[arg].append((edge, user))
        outputs = [[k for k, root in enumerate(roots) if root == t] for t in range(len(terms))]
        rows = zip(self.labels, outputs, strict=True)
        self.start = _ranked([json.dumps(row) for row in rows])

    def refine(self, colours: Colours) -> Colours:
        while True:
            rows = []
            for t, colour in enumerate(colours):
                below = sorted((edge, colours[arg]) for edge, arg in self.args[t])
                above = sorted((edge, colours[user]) for edge, user in self.users[t])
                rows.append((colour, below, above))
            refined = _ranked([repr(row) for row in rows], first=colours)
            if len(set(refined)) == len(set(colours)):
                return refined
            colours = refined

    def tie(self, colours: Colours) -> list[int]:
        """The first class of parameters that still look alike; empty if there is none."""
        classes: dict[int, list[int]] = {}
        for t, colour in enumerate(colours):
            if self.labels[t].startswith("learned"):
                classes.setdefault(colour, []).append(t)
        alike = [colour for colour, members in classes.items() if len(members) > 1]
        return classes[min(alike)] if alike else []

    def single_out(self, colours: Colours, chosen: int) -> Colours:
        return tuple(2 * c + (t != chosen) for t, c in enumerate(colours))

    def leaves(self, colours: Colours) -> set[str]:
        """Texts of all numberings under `colours` that no symmetry found so far makes equal."""
        colours = self.refine(colours)
        tie = self.tie(colours)
        if not tie:
            return {self.text(colours)}
        texts = self.leaves(self.single_out(colours, tie[0]))
        for other in tie[1:]:
            branch = self.single_out(colours, other)
            if self.first_leaf(branch) not in texts:
                texts |= self.leaves(branch)
        return texts

    def first_leaf(self, colours: Colours) -> str:
        colours = self.refine(colours)
        while tie := self.tie(colours):
            colours = self.refine(self.single_out(colours, tie[0]))
        return self.text(colours)

    def text(self, colours: Colours) -> str:
        order = sorted(range(len(colours)), key=lambda t: colours[t])
        place = {t: k for k, t in enumerate(order)}
        rows = []
        for t in order:
            args = sorted([edge, place[arg]] for edge, arg in self.args[t])
            rows.append([self.labels[t], args])
        return json.dumps([rows, [place[root] for root in self.roots]])


def reached(terms: Terms, roots: Sequence[int]) -> list[int]:
    """The terms on which the roots depend, in order."""
    return sorted(reachable(roots, lambda term: [arg for _, arg in terms[term][1]]))


def _ranked(rows: list[str], first: Colours | None = None) -> Colours:
    """The rank of each row among the different rows, sorted by colour and then by text."""
    pairs = list(zip(first or [0] * len(rows), rows, strict=True))
    ranks = {pair: rank for rank, pair in enumerate(sorted(set(pairs)))}
    return tuple(ranks[pair] for pair in pairs)
