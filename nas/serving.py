"""The loader of registered models: MLflow calls this module, which reads tensors and equations.

A model in the registry holds no code: `mlflow models serve -m models:/NAME@champion --env-manager
local` needs an environment with nas.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.errors import UserError
from nas.nn.loading import read, whole
from nas.nn.meaning import SERVES, SERVES_DATA
from nas.nn.model import Network
from nas.nn.rnn import RNN
from nas.nn.trained import TrainedModel
from nas.record.model import refusal


class Pyfunc(ABC):
    """The interface that MLflow asks of a model."""

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Answer a request, as `answer` says.

        Raises:
            UserError: as an error of MLflow's, whose server hides the sentences of others.
        """
        try:
            return self.answer(model_input, params or {})
        except UserError as error:
            raise refusal(error) from None

    @abstractmethod
    def answer(self, data: Any, asked: Mapping[str, Any]) -> Any:
        """Answer data; `asked` are the params of the request."""


class Served(Pyfunc):
    """A trained model that takes data as they are."""

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def answer(self, data: Any, asked: Mapping[str, Any]) -> Any:
        """Return answers in the data's own units and names, as `nas.load(…).predict` gives them.

        Data are a DataFrame, with the columns of the data or with a column text, or an array of
        sequences (batch, time, …). `asked` may have `lengths`, how many steps of each padded
        sequence count; `probabilities`, for those of all classes or symbols; and, of a text,
        `length` (with `temperature` and `seed`), for so many symbols that follow it.

        Raises:
            UserError: naming what the model cannot read.
        """
        lengths = [int(n) for n in asked.get("lengths", ())] or None
        if length := int(asked.get("length", 0)):
            return self._written(data, length, asked)
        if asked.get("probabilities"):
            return _plain(self.model.probabilities(data, lengths=lengths))
        return _plain(self.model.predict(data, lengths=lengths))

    def _written(self, texts: Any, length: int, asked: Mapping[str, Any]) -> Any:
        temperature, seed = float(asked.get("temperature", 1.0)), int(asked.get("seed", 0))
        frame = texts[["text"]].copy()
        frame["text"] = [
            self.model.generate(text, length, temperature=temperature, seed=seed)
            for text in frame["text"]
        ]
        return frame


class ServedTensors(Pyfunc):
    """Layers, or a model that was registered before models knew their data."""

    def __init__(self, module: RNN | Network) -> None:
        self.module = module

    @torch.no_grad()
    def answer(self, data: Any, asked: Mapping[str, Any]) -> NDArray[np.float32]:
        """Return outputs (batch, time, features) of sequences that start at the initial state.

        Data are tokens (batch, time) or features (batch, time, input_size); a model of a task gives
        its scores at each step, such as logits of the next token, layers alone give theirs.

        Raises:
            UserError: if the input has another shape or a token is not in the vocabulary.
        """
        inputs = np.asarray(data)
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
