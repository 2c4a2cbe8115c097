"""Cells that were searched for on Penn Treebank by weight sharing: DARTS and ENAS.

All are chains of gated nodes, `nas/zoo/imports/genotype.py`; the new state is a mean of nodes.
"""

from nas.zoo.imports.genotype import Genotype, Step, read_arc, read_genotype, step


def darts_v1() -> Step:
    """The genotype DARTS_V1 of github.com/quark0/darts, of the first-order search."""
    genotype = read_genotype(
        "Genotype(recurrent=[('relu', 0), ('relu', 1), ('tanh', 2), ('relu', 3), ('relu', 4), "
        "('identity', 1), ('relu', 5), ('relu', 1)], concat=range(1, 9))"
    )
    doc = "Liu, Simonyan & Yang 2019, arXiv:1806.09055: DARTS_V1, found by the first-order search."
    return _documented(genotype, doc)


def darts_v2() -> Step:
    """The genotype DARTS_V2 of github.com/quark0/darts, of the second-order search."""
    genotype = read_genotype(
        "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), "
        "('tanh', 2), ('sigmoid', 5), ('tanh', 3), ('relu', 5)], concat=range(1, 9))"
    )
    doc = "Liu, Simonyan & Yang 2019, arXiv:1806.09055: DARTS_V2, found by the second-order search."
    return _documented(genotype, doc)


def enas() -> Step:
    """The genotype ENAS of github.com/quark0/darts: twelve nodes, the mean of the loose ends.

    The arc in scripts/ptb_final.sh of github.com/melodyguan/enas is another one.
    """
    genotype = read_genotype(
        "Genotype(recurrent=[('tanh', 0), ('tanh', 1), ('relu', 1), ('tanh', 3), ('tanh', 3), "
        "('relu', 3), ('relu', 4), ('relu', 7), ('relu', 8), ('relu', 8), ('relu', 8)], "
        "concat=[2, 5, 6, 9, 10, 11])"
    )
    doc = "Pham et al. 2018, arXiv:1802.03268: ENAS on Penn Treebank, as written down for DARTS."
    return _documented(genotype, doc)


def enas_lm() -> Step:
    """The arc in the README of google-research/enas_lm, the second implementation of ENAS."""
    genotype = read_arc("0 2 1 0 2 1 2 2 4 0 5 0 3 2 6 2", "enas_lm")
    doc = "Pham et al. 2018, arXiv:1802.03268: the ENAS cell of google-research/enas_lm."
    return _documented(genotype, doc)


def _documented(genotype: Genotype, doc: str) -> Step:
    cell = step(genotype)
    cell.__doc__ = doc
    return cell
