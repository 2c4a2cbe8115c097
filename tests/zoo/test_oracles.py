"""Other people's code computes what our cells compute, with the same parameters and as many."""

import pytest
import torch

from nas.zoo import ZOO
from tests.tolerances import OTHER_KERNEL_32, OTHER_KERNEL_64
from tests.zoo.oracles import Oracle, compared
from tests.zoo.oracles_packages import ORACLES

TOLERANCES = {torch.float32: OTHER_KERNEL_32["atol"], torch.float64: OTHER_KERNEL_64["atol"]}
CASES = [
    pytest.param(name, oracle, dtype, id=f"{name}-{oracle.package.split()[0]}-{dtype}")
    for name, oracles in ORACLES.items()
    for oracle in oracles
    for dtype in oracle.dtypes
]


@pytest.mark.parametrize(("name", "oracle", "dtype"), CASES)
def test_another_package_agrees(name: str, oracle: Oracle, dtype: torch.dtype) -> None:
    assert compared(name, oracle, dtype) <= TOLERANCES[dtype]


def test_oracles_are_of_known_cells() -> None:
    assert set(ORACLES) <= set(ZOO)
