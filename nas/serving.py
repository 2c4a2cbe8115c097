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
from nas.nn.loading import Model, read, whole
from nas.nn.meaning import SERVES, SERVES_DATA
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel


class Served:
    """A trained model with the interface of MLflow's pyfunc."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Answers in the data's own units and names, as `nas.load(…).predict` gives them.

        The input is a DataFrame, with the columns of the data or with a column text, or an array of
        sequences (batch, time, …). `params` may have `lengths`, how many steps of each padded
        sequence count; `probabilities`, for those of all classes or symbols; and, of a text,
        `length` (with `temperature` and `seed`), for so many symbols that follow it.

        Raises:
            UserError: naming what the model cannot read.
        """
        asked = dict(params or {})
        lengths = [int(n) for n in asked.get("lengths", ())] or None
        if length := int(asked.get("length", 0)):
            return self._written(model_input, length, asked)
        if asked.get("probabilities"):
            return _plain(self.model.probabilities(model_input, lengths=lengths))
        return _plain(self.model.predict(model_input, lengths=lengths))

    def _written(self, texts: Any, length: int, asked: dict[str, Any]) -> Any:
        temperature, seed = float(asked.get("temperature", 1.0)), int(asked.get("seed", 0))
        frame = texts[["text"]].copy()
        frame["text"] = [
            self.model.generate(text, length, temperature=temperature, seed=seed)
            for text in frame["text"]
        ]
        return frame


class ServedTensors:
    """Layers, or a model that was registered before models knew their data."""

    def __init__(self, module: RNN | Model) -> None:
        self.module = module

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


def _plain(answers: Any) -> Any:
    """Answers as MLflow writes them: sequences of unequal lengths are lists."""
    if isinstance(answers, list):
        return [answer.tolist() for answer in answers]
    return answers


def _load_pyfunc(data_path: str) -> Served | ServedTensors:
    """The entry point of MLflow, with the folder of a model's data."""
    loaded = read(Path(data_path))
    model = whole(loaded, data_path) if loaded.described.get(SERVES) == SERVES_DATA else None
    return Served(model) if isinstance(model, TrainedModel) else ServedTensors(loaded.module)
