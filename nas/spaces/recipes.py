"""The space of NAS-Bench-NLP: recipes as its generator draws them, and lines of changed genes.

A point is the seed of a recipe and the seeds of the changes that follow it, one a generation. A
change draws one gene anew, and is left out if the recipe would not count. That is Metropolis' rule,
which keeps the generator's distribution: a line of any length ends in a recipe with the probability
that a fresh draw gives it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, Self

from nas.cell import Cell, renamed
from nas.errors import UserError, unknown
from nas.spaces.base import Params, Space, digest, suggested
from nas.spaces.descent import LARGEST_SEED, child_of, seeds_of, suggested_seeds
from nas.spaces.file import check_names, flag_of, generations_of, listed
from nas.spaces.recipe_generator import (
    Genes,
    Odds,
    Rules,
    counts,
    drawn,
    n_genes,
    place_of,
    possible,
    random_bits,
)
from nas.zoo import ZOO
from nas.zoo.imports.recipe import Recipe, cell_of, recipe_of

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

KEPT = 4096
"""Lines whose genes are cached, so that a child costs one change."""
N_TRIED = 2000
"""Draws within which each of the sizes of a file must give a recipe."""
MOST_DRAWS = 100 * N_TRIED
MOST_CHANGES = 1000
"""Most seeds that `vary` tries; it needs six in the median, as most genes belong to nodes that the
recipe does not need."""
MOST = {"states": 8, "nodes": 64}


@dataclass(frozen=True)
class Recipes(Space):
    """Random recipes; `search_spaces/nas_bench_nlp.yaml` explains the fields."""

    name: str = "recipes"
    states: tuple[int, ...] = (1, 2, 3)
    nodes: tuple[int, ...] = (7, 14, 21)
    """Numbers of nodes beside the new states."""
    rules: Rules = field(default_factory=Rules)
    max_generation: int = 64

    @classmethod
    def read(cls, name: str, fields: Mapping[str, object]) -> Self:
        of_rules = [field.name for field in dataclasses.fields(Rules)]
        check_names(fields, [*MOST, *of_rules, "max_generation"])
        values = {field: _opened(field, given) for field, given in fields.items()}
        rules = Rules(**{k: v for k, v in values.items() if k in of_rules})
        own = {k: v for k, v in values.items() if k not in of_rules}
        return cls(name, rules=rules, **own)._checked()

    def _checked(self) -> Self:
        if "linear" not in dict(self.rules.operations):
            raise UserError("operations must have linear: no other operation reads x.")
        for states in self.states:
            for nodes in self.nodes:
                if _first(self.rules, states, nodes, 0, N_TRIED) is None:
                    raise UserError(
                        f"states {states} and nodes {nodes} gave no recipe of "
                        f"{self.rules.min_nodes} to {self.rules.max_nodes} nodes in {N_TRIED:,} "
                        "draws; change one of them."
                    )
        return self

    @property
    def version(self) -> str:
        rules = vars(self.rules)
        return digest("recipes", 1, self.states, self.nodes, rules, self.max_generation)

    def propose(self, trial: "BaseTrial") -> Cell:
        states = suggested(trial, "states", self.states)
        nodes = suggested(trial, "nodes", self.nodes)
        seed = trial.suggest_int("recipe", 0, LARGEST_SEED)
        seeds = suggested_seeds(trial, self.max_generation)
        cell = cell_of(_last(self.rules, states, nodes, seed, seeds))
        changes = f", {len(seeds)} changes" if seeds else ""
        doc = (
            f"A recipe drawn as in NAS-Bench-NLP: {nodes} nodes beside {states} new states, seed "
            f"{seed}{changes}."
        )
        return renamed(cell, ZOO.named(cell.key) or cell.name, doc)

    def recipe(self, params: Params) -> Recipe:
        """The recipe of a point."""
        states = int(params.get("states", self.states[0]))
        nodes = int(params.get("nodes", self.nodes[0]))
        return _last(self.rules, states, nodes, int(params["recipe"]), seeds_of(params))

    def contains(self, cell: Cell) -> bool:
        """Whether the generator may draw the cell as it is written, by operations of recipes."""
        recipe = recipe_of(cell)
        return recipe is not None and any(
            possible(self.rules, recipe, states, nodes)
            for states in self.states
            for nodes in self.nodes
        )

    def params_of(self, cell: Cell) -> Params | None:
        return None  # nobody knows a seed that draws a given recipe

    def vary(self, params: Params, seed: int, n_mutations: int = 1) -> Params:
        """A recipe of another cell, one gene away, with as many states and nodes."""
        rng = Random(seed)
        old = cell_of(self.recipe(params)).key
        for _ in range(MOST_CHANGES):
            new = child_of(params, rng.getrandbits(32), self.max_generation, n_mutations)
            if cell_of(self.recipe(new)).key != old:
                break
        return new

    def size(self) -> None:
        return None

    def describe(self) -> str:
        states, nodes = (", ".join(map(str, of)) for of in (self.states, self.nodes))
        odds = ":".join(str(weight) for _, weight in self.rules.operations)
        names = ", ".join(name for name, _ in self.rules.operations)
        return (
            f"{self.name}: random recipes of {states} states, {nodes} nodes beside them, {names} "
            f"as {odds}; up to {self.rules.max_nodes} nodes are left"
        )


def _first(rules: Rules, states: int, nodes: int, seed: int, most: int) -> Genes | None:
    """The first genes of a seed whose recipe counts."""
    for k in range(most):
        genes = Genes(random_bits(seed, k))
        if counts(rules, drawn(rules, states, nodes, genes), states):
            return genes
    return None


def _last(rules: Rules, states: int, nodes: int, seed: int, seeds: tuple[int, ...]) -> Recipe:
    return drawn(rules, states, nodes, _line(rules, states, nodes, seed, seeds))


@lru_cache(maxsize=KEPT)
def _line(rules: Rules, states: int, nodes: int, seed: int, seeds: tuple[int, ...]) -> Genes:
    """The genes at the end of a line of changes."""
    if not seeds:
        genes = _first(rules, states, nodes, seed, MOST_DRAWS)
        assert genes is not None, "found in fewer draws when the space was read"
        return genes
    genes = _line(rules, states, nodes, seed, seeds[:-1])
    number = (random_bits(seeds[-1], 0) * n_genes(states, nodes)) >> 64
    changed = {**genes.changed, place_of(number, states): random_bits(seeds[-1], 1)}
    new = Genes(genes.seed, changed)
    return new if counts(rules, drawn(rules, states, nodes, new), states) else genes


def _opened(name: str, given: object) -> Any:
    """The value of a field of the file."""
    if name in MOST:
        values = listed(given)
        for value in values:
            if type(value) is not int or not 1 <= value <= MOST[name]:
                raise UserError(
                    f"{name} must be whole numbers from 1 to {MOST[name]}, got {value!r}."
                )
        if not values or len(set(values)) < len(values):
            raise UserError(f"{name} must name at least one number, and each once, got {given!r}.")
        return tuple(sorted(values))
    if name in ("operations", "linear_inputs", "activations"):
        return _odds(name, given)
    if name == "all_reach_output":
        return flag_of(name, given)
    if type(given) is not int or given < 1:
        raise UserError(f"{name} must be a whole number from 1, got {given!r}.")
    return generations_of(given) if name == "max_generation" else given


def _odds(name: str, given: object) -> Odds:
    allowed = [choice for choice, _ in ALLOWED[name]]
    if not isinstance(given, dict) or not given:
        example = ", ".join(f"{choice}: {weight}" for choice, weight in ALLOWED[name])
        raise UserError(f"{name} must map choices to their odds, as {{{example}}}, got {given!r}.")
    weights = {str(choice): weight for choice, weight in given.items()}
    for choice, weight in weights.items():
        if choice not in allowed:
            raise UserError(f"{name}: {unknown('choice', choice, allowed)}")
        if type(weight) is not int or not 1 <= weight <= 1000:
            raise UserError(
                f"{name}: the odds of {choice} must be a whole number from 1 to 1000, got "
                f"{weight!r}; leave out what is not open."
            )
    return tuple((choice, weights[choice]) for choice in allowed if choice in weights)


ALLOWED: dict[str, Odds] = {
    "operations": Rules.operations,
    "linear_inputs": (("1", 1), *Rules.linear_inputs),
    "activations": Rules.activations,
}
"""All choices of the fields that hold odds, with their odds in an example."""
