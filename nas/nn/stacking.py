"""What stands between the layers of a stack: nothing, a sum, a normalisation, or both."""

from typing import Literal, get_args

from nas.errors import CellError

Stacking = Literal["plain", "residual", "norm", "residual_norm"]
"""Of each layer above the first: with "norm" it reads rows of mean 0 and variance 1, without gain
and bias (Ba et al. 2016), and with "residual" what it reads, not normalised, is added to what it
gives (He et al. 2016; both is the pre-norm of Xiong et al. 2020). None has parameters.
"""
STACKINGS: tuple[Stacking, ...] = get_args(Stacking)


def described_stacking(stacking: Stacking) -> dict[str, str]:
    """The stacking in the description of a model; plain ones go without."""
    return {} if stacking == "plain" else {"stacking": stacking}


def check_stacking(name: str) -> None:
    """Raise CellError if there is no such way to stack layers."""
    if name not in STACKINGS:
        raise CellError(f'stacking must be one of {", ".join(STACKINGS)}, got "{name}".')
