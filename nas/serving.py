"""The loader of registered models: MLflow calls this module, which reads tensors and equations.

A model in the registry holds no code: `mlflow models serve -m models:/NAME@champion --env-manager
local` needs an environment with nas.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.errors import UserError
from nas.nn.loading import read
from nas.nn.rnn import RNN


class Served:
    """A model with the interface of MLflow's pyfunc."""

    def __init__(self, folder: Path) -> None:
        self.module = read(folder).module

    @torch.no_grad()
    def predict(
        self, model_input: NDArray[Any], params: dict[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Outputs (batch, time, features) of whole sequences that start at the initial state.

        Input is tokens (batch, time) or features (batch, time, input_size); a model of a task gives
        its scores at each step, such as logits of the next token, layers alone give theirs.

        Raises:
            UserError: if the input has another shape or a token is not in the vocabulary.
        """
        inputs = np.asarray(model_input)
        ends = None if isinstance(self.module, RNN) else self.module.interface
        if ends is not None and ends.tokens:
            n = ends.inputs
            if inputs.ndim != 2 or not inputs.size or inputs.min() < 0 or inputs.max() >= n:
                raise UserError(f"input must be tokens (batch, time) from 0 to {n - 1}.")
            tokens = torch.from_numpy(inputs.astype(np.int64)).t()
            return _by_sequence(self.module(tokens, None)[0])
        width = ends.inputs if ends else self.module.input_size
        if inputs.ndim != 3 or inputs.shape[2] != width or not inputs.size:
            raise UserError(f"input must be features (batch, time, {width}), got {inputs.shape}.")
        features = torch.from_numpy(inputs.astype(np.float32)).transpose(0, 1)
        return _by_sequence(self.module(features, None)[0])


def _by_sequence(outputs: Tensor) -> NDArray[np.float32]:
    return np.asarray(outputs.transpose(0, 1).numpy(), dtype=np.float32)


def _load_pyfunc(data_path: str) -> Served:
    """The entry point of MLflow, with the folder of a model's data."""
    return Served(Path(data_path))
