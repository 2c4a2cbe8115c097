"""Functions that stand in front of the classes of a plain file, where the equations need them."""

from nas.export.expressions import Equations

HELPERS = {
    "blend": '''
def blend(a: Tensor | float, b: Tensor | float, c: Tensor | float) -> Tensor:
    """b where a is 1, c where it is 0."""
    return a * b + (1 - a) * c
''',
    "layer_norm": '''
def layer_norm(a: Tensor, eps: float) -> Tensor:
    """Rows with mean 0 and variance 1, without gain and bias (Ba et al. 2016)."""
    centred = a - a.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)
''',
    "rms_norm": '''
def rms_norm(a: Tensor, eps: float) -> Tensor:
    """Rows with mean square 1, without gain (Zhang & Sennrich 2019)."""
    return a / torch.sqrt(a.square().mean(-1, keepdim=True) + eps)
''',
    "block_diagonal": '''
def block_diagonal(a: Tensor, blocks: Tensor) -> Tensor:
    """A matrix of independent blocks (n, size, size) times a."""
    parts = a.reshape(*a.shape[:-1], *blocks.shape[:2], 1)
    return torch.flatten(blocks @ parts, -3)
''',
    "unit": '''
def unit_index(x: Tensor, width: int, n_blocks: int) -> Tensor:
    """The number of each unit's block, or of the unit itself without blocks, from 0."""
    index = torch.arange(width, dtype=x.dtype, device=x.device)
    return index // (width // n_blocks) if n_blocks else index
''',
    "legendre": '''
def legendre(order: int, window: float) -> Tensor:
    """The Legendre memory of Voelker et al. 2019 over `window` steps, zero-order hold."""
    row, column = torch.arange(order, dtype=torch.float64)[:, None], torch.arange(order)[None, :]
    below = torch.where((row - column) % 2 == 0, -1.0, 1.0)
    flow = (2 * row + 1) * torch.where(row < column, -1.0, below).double()
    return torch.matrix_exp(flow / window)
''',
    "masked": '''
def block_triangular(width: int, n_blocks: int, upper: bool) -> Tensor:
    """1 in the blocks on and above the diagonal (below it if not upper), 0 elsewhere."""
    block = torch.arange(width) // (width // n_blocks)
    mask = block[None, :] >= block[:, None]
    return (mask if upper else mask.T).float()
''',
}
"""Functions that some ops need, in front of the classes."""


def helpers(equations: Equations) -> list[str]:
    """The functions that the equations call."""
    return [code for op, code in HELPERS.items() if op in equations.ops]
