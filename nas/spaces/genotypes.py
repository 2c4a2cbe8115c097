"""The spaces of DARTS and ENAS: chains of gated nodes, each of which continues one before it.

A point is the activation and the predecessor of each node. Nodes that are no ancestors of one
another may be numbered in any order, so many points are one cell, and a cell is a tree of nodes.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self

from nas.cell import Cell, renamed
from nas.errors import UserError, unknown
from nas.spaces.base import Params, Space, digest, suggested
from nas.spaces.file import check_names, listed, once
from nas.zoo import ZOO
from nas.zoo.imports.genotype import ACTIVATIONS, Genotype, genotype_of, traced

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

OUTPUTS = ("all", "loose_ends")
MOST_NODES = 32


@dataclass(frozen=True)
class Genotypes(Space):
    """Chains of gated nodes; `search_spaces/darts.yaml` explains the fields."""

    name: str = "genotypes"
    nodes: int = 8
    """Number of nodes beside node 0, which reads x and h."""
    first: tuple[str, ...] = ("tanh",)
    activations: tuple[str, ...] = ("tanh", "relu", "sigmoid", "identity")
    output: Literal["all", "loose_ends"] = "all"

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        known = [field.name for field in dataclasses.fields(cls) if field.name != "name"]
        check_names(fields, known)
        opened = {field: _opened(field, given) for field, given in fields.items()}
        return dataclasses.replace(cls(name), **opened)

    @property
    def version(self) -> str:
        return digest("genotypes", 1, self.nodes, self.first, self.activations, self.output)

    def propose(self, trial: "BaseTrial") -> Cell:
        first = suggested(trial, "activation_0", self.first)
        pairs = tuple(
            (
                suggested(trial, f"activation_{k}", self.activations),
                suggested(trial, f"predecessor_{k}", tuple(range(k))),
            )
            for k in range(1, self.nodes + 1)
        )
        genotype = self._with_output(Genotype(pairs, (), first))
        cell = traced(genotype)
        nodes = ", ".join(f"{activation} {k}" for activation, k in pairs)
        doc = f"A point of the space {self.name}: {first}; {nodes}."
        return renamed(cell, ZOO.named(cell.key) or f"genotype_{cell.key[:6]}", doc)

    def _with_output(self, genotype: Genotype) -> Genotype:
        everything = tuple(range(1, self.nodes + 1))
        concat = everything if self.output == "all" else genotype.loose_ends
        return dataclasses.replace(genotype, concat=concat)

    def params_of(self, cell: Cell) -> Params | None:
        genotype = genotype_of(cell)
        if genotype is None or len(genotype.recurrent) != self.nodes:
            return None
        if genotype.first not in self.first:
            return None
        if any(activation not in self.activations for activation, _ in genotype.recurrent):
            return None
        if set(genotype.concat) != set(self._with_output(genotype).concat):
            return None
        params: Params = {"activation_0": genotype.first} if len(self.first) > 1 else {}
        for k, (activation, predecessor) in enumerate(genotype.recurrent, start=1):
            params |= {f"activation_{k}": activation} if len(self.activations) > 1 else {}
            params |= {f"predecessor_{k}": predecessor} if k > 1 else {}
        return params

    def size(self) -> int:
        """The number of coloured trees: forests of the other nodes below the first one."""
        return len(self.first) * forests(self.nodes, len(self.activations))

    def describe(self) -> str:
        output = "all nodes" if self.output == "all" else "the loose ends"
        return (
            f"{self.name}: {self.size():,} cells of 1 + {self.nodes} gated nodes, of "
            f"{len(self.activations)} activations; the output is the mean of {output}"
        )


@cache
def forests(n_nodes: int, n_colours: int) -> int:
    """Number of forests of rooted trees whose nodes have one of `n_colours` colours each.

    The Euler transform of the trees, which are one node on a forest (OEIS A000081, A000151, …).
    """
    if n_nodes == 0:
        return 1
    total = sum(
        d * n_colours * forests(d - 1, n_colours) * forests(n_nodes - k, n_colours)
        for k in range(1, n_nodes + 1)
        for d in range(1, k + 1)
        if k % d == 0
    )
    return total // n_nodes


def _opened(field: str, given: object) -> Any:
    """The value of a field of the file."""
    if field == "nodes":
        if type(given) is not int or not 1 <= given <= MOST_NODES:
            raise UserError(f"nodes must be a whole number from 1 to {MOST_NODES}, got {given!r}.")
        return given
    if field == "output":
        if given not in OUTPUTS:
            raise UserError(f"output must be one of {', '.join(OUTPUTS)}, got {given!r}.")
        return given
    values = once(field, listed(given))
    if not values:
        raise UserError(f"{field} must have at least one choice, got none.")
    for value in values:
        if value not in ACTIVATIONS:
            raise UserError(f"{field}: {unknown('activation', str(value), ACTIVATIONS)}")
    return tuple(name for name in ACTIVATIONS if name in values)
