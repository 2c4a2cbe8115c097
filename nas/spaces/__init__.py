"""The spaces that can be searched: `load_space("gates").propose(trial)` for any trial of Optuna.

A new space is a YAML file, named by its path; a new kind of space is a file and a line in SPACES.
"""

from nas.spaces.base import Params, Scalar, Space
from nas.spaces.bred import Bred
from nas.spaces.file import read_space
from nas.spaces.gates import Gates
from nas.spaces.genotypes import Genotypes
from nas.spaces.graph import Graph
from nas.spaces.listed import Listed
from nas.spaces.mixed import Mixed
from nas.spaces.recipes import Recipes

__all__ = [
    "SPACES",
    "Bred",
    "Gates",
    "Genotypes",
    "Graph",
    "Listed",
    "Mixed",
    "Params",
    "Recipes",
    "Scalar",
    "Space",
    "load_space",
]

SPACES: dict[str, type[Space]] = {
    "gates": Gates,
    "graph": Graph,
    "bred": Bred,
    "mixed": Mixed,
    "genotypes": Genotypes,
    "recipes": Recipes,
    "cells": Listed,
}


def load_space(source: str) -> Space:
    """Read a space from a name that comes with `nas` or from the path of a YAML file.

    Raises:
        UserError: if there is none, or its file breaks a rule.
    """
    return read_space(source, SPACES)
