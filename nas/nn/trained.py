"""A trained winner as one module: raw data in, answers in the data's own units and names out."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.cell.cell import Cell
from nas.errors import UserError
from nas.nn.asking import Asked, Values, asked, given_back
from nas.nn.attention import AttentionModel
from nas.nn.latent import importance_weighted
from nas.nn.latent_model import LatentModel
from nas.nn.layers import States
from nas.nn.meaning import TEXTS, Meaning, Scale
from nas.nn.model import Network
from nas.nn.rnn import RNN
from nas.tasks.kinds import LatentKind

BUFFERS = ("input_means", "input_scales", "target_means", "target_scales")
"""The names of the buffers that a whole model has besides its network."""


class TrainedModel(nn.Module):
    """The network of a winner with what its data mean; `nas.load` makes it.

    Called with tensors it is a module like torch's: features (time, batch, features) in the data's
    units, or tokens (time, batch), go in, and scores (time, batch, outputs) and the states after
    the last step come out. Scores are numbers in the data's units for a Gaussian head, else logits.
    A model that answers at the last step gives the scores (batch, outputs) of the last real step of
    each sequence. `predict` takes data as people have them. A model with latent variables scores no
    next step: it answers `bound` and `sample`.

    `state` is optional everywhere: a tensor (layers, batch, width) if the cell has one state, else
    a tuple of such in the order of `model.cell.states`.

    `input_means`, `input_scales`, `target_means` and `target_scales` are buffers, so that they are
    in the state_dict; `meaning` has the names. `measured` are errors that the search measured, if
    it did.
    """

    input_means: Tensor
    input_scales: Tensor
    target_means: Tensor
    target_scales: Tensor

    def __init__(
        self,
        network: Network,
        meaning: Meaning,
        measured: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.meaning = meaning
        self.measured = dict(measured or {})
        known = (*_of(meaning.inputs), *_of(meaning.outputs))
        for name, values in zip(BUFFERS, known, strict=True):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))
        self.train(network.training)

    @property
    def rnn(self) -> RNN:
        """The layers alone, as they take the place of torch.nn.LSTM."""
        return self.network.rnn

    @property
    def cell(self) -> Cell:
        """The cell of the layers."""
        return self.rnn.cell

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table that the model reads, in order; empty where they have no names."""
        recipe = self.meaning.recipe
        return tuple(recipe.names) if recipe else self.meaning.columns

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the numbers that are predicted; empty where they have none."""
        return self.meaning.targets

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their scores; empty where they are numbers."""
        return self.meaning.classes

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The character or word of each token.

        Raises:
            UserError: if the model reads no text, or its file does not say it.
        """
        if not self.meaning.symbols:
            raise UserError(self.meaning.lacks or "this model reads no text: no vocabulary.")
        return self.meaning.symbols

    def extra_repr(self) -> str:
        known = self.meaning
        read = ", ".join(known.columns) or f"{len(known.symbols) or known.interface.inputs} symbols"
        if not known.interface.tokens and not known.columns:
            read = f"{known.interface.inputs} features"
        return f"task={known.task!r}, reads {read}, answers {known.answers}"

    def forward(
        self, inputs: Tensor, state: States | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Return scores and the states after the last real step; the class says of which shapes.

        `lengths`, (batch,), says how many steps count of sequences that are padded at their end.

        Raises:
            UserError: if the inputs have another shape or type, or if a model with attention is
                given a state or lengths.
        """
        self._check(inputs)
        weight = self.network.head.weight
        if not self.meaning.interface.tokens:
            inputs = ((inputs - self.input_means) / self.input_scales).to(weight.dtype)
        if isinstance(self.network, AttentionModel):
            if lengths is not None:
                raise UserError("a model with attention reads whole examples, without lengths.")
            written: tuple[Tensor, States] = self.network(inputs, state)
            return written
        scores, state = self.network(inputs, state, lengths)
        if self.meaning.interface.head == "gaussian":
            scores = self.target_means + self.target_scales * scores
        if self.meaning.answers == "last step":
            scores = last_step(scores, lengths)
        return scores, state

    def _check(self, inputs: Tensor) -> None:
        """Refuse inputs of another shape or type, such as those of the layers alone."""
        ends = self.meaning.interface
        wanted = "symbols (time, batch), whole numbers"
        if ends.tokens:
            fits = inputs.dim() == 2 and not inputs.is_floating_point()
        else:
            wanted = f"features (time, batch, {ends.inputs}) in the data's units"
            fits = inputs.dim() == 3 and inputs.shape[2] == ends.inputs
        if not fits:
            raise UserError(
                f"the model reads {wanted}, got {inputs.dtype} of the shape {tuple(inputs.shape)}: "
                "model.rnn are its layers alone, and model.predict takes data as they are."
            )

    def predict(
        self,
        data: Any,
        *,
        state: States | None = None,
        lengths: Sequence[int] | None = None,
        with_state: bool = False,
    ) -> Any:
        """Answer data in their own names and units: numbers, names of classes, or the next symbol.

        `data` are a DataFrame with the columns of `columns`, whose rows are steps and whose
        column `meaning.group`, if there is one, parts them into sequences; an array, (time,
        features) or (batch, time, features), of symbols (time,) or (batch, time); a text; or a list
        of such sequences of unequal lengths. Answers have the same form: at each step, or, as
        `meaning.answers` says, one a sequence. `lengths` says how many steps count of sequences
        that are padded at their end.

        A series is read from the initial state on, with the state carried through all of its rows,
        so the first answers have seen little. It is read in one piece or in several: `with_state`
        returns (answers, state), and the next call goes on from that `state`, which has a row for
        each sequence.

        Raises:
            UserError: naming what the model cannot read.
        """
        read = asked(data, self.meaning, lengths)
        scores, after = self._scores(read, state)
        answers = given_back(
            read, [self._named(s) for s in scores], self._answer_names(), each_step=self._each_step
        )
        return (answers, after) if with_state else answers

    def probabilities(
        self, data: Any, *, state: States | None = None, lengths: Sequence[int] | None = None
    ) -> Any:
        """Return the probability of each class, bit or symbol, (…, outputs); else as `predict`.

        Raises:
            UserError: for a model of numbers, or naming what the model cannot read.
        """
        if self.meaning.interface.head == "gaussian":
            raise UserError("a model of numbers gives no probabilities: ask predict.")
        read = asked(data, self.meaning, lengths)
        scores, _ = self._scores(read, state)
        share = torch.sigmoid if self.meaning.interface.head == "bernoulli" else _softmax
        shares = [share(torch.from_numpy(values)).numpy() for values in scores]
        names = self.meaning.outcomes or list(map(str, range(self.meaning.interface.outputs)))
        return given_back(read, shares, names, each_step=self._each_step)

    @torch.no_grad()
    def generate(
        self,
        prompt: str | Sequence[int],
        length: int = 100,
        *,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> Any:
        """Return so many symbols that the model writes after `prompt`: a text, or tokens.

        Each is drawn by its probability, sharpened by a `temperature` below 1; at 0 it is the
        likeliest one. The same seed gives the same text.

        Raises:
            UserError: if the model predicts no next symbol, or an argument is out of range.
        """
        if self.meaning.answers != "next symbol":
            raise UserError(f"a model of the task {self.meaning.task} predicts no next symbol.")
        if length < 1 or not temperature >= 0:
            raise UserError(
                f"generate needs a length of at least 1 and a temperature of at least 0, got "
                f"{length} and {temperature}."
            )
        read = asked(prompt, self.meaning)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.from_numpy(read.sequences[0]).unsqueeze(1)
        state: States | None = None
        written: list[int] = []
        for _ in range(length):
            scores, state = self(tokens.to(self.network.head.weight.device), state)
            written.append(_drawn(scores[-1, 0].cpu(), temperature, generator))
            tokens = torch.tensor([[written[-1]]])
        return self.meaning.text_of(written) if isinstance(prompt, str) else written

    @torch.no_grad()
    def bound(self, sequences: Sequence[Any], draws: int = 64) -> NDArray[np.float64]:
        """Return the importance-weighted bound on -ln p(x) of each sequence in nats, of a model
        with latent variables.

        `sequences` are arrays of 0 and 1, (time, bits) each. The bound is of so many draws of the
        latent variables, always the same; more draws make it tighter, and with one its mean is the
        bound of training.

        Raises:
            UserError: if the model is of another kind, or naming what it cannot read.
        """
        network = self._latent("bound")
        if draws < 1:
            raise UserError(f"bound needs at least 1 draw, got {draws}.")
        read = asked(list(sequences), self.meaning)
        found = []
        for one in read.sequences:
            x = torch.from_numpy(one).to(network.head.weight).unsqueeze(1)
            before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
            scored = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            found.append(importance_weighted(network.weights_of(before, x, scored, draws)))
        return np.asarray(torch.cat(found).cpu().numpy(), dtype=np.float64)

    def sample(self, n: int = 1, length: int | None = None, *, seed: int = 0) -> NDArray[np.uint8]:
        """Return n sequences that a model with latent variables makes up, (n, length, bits), of 0
        and 1. The same seed gives the same.

        A position is a frame of music, 100 unless `length` says otherwise, or an image of `draw`,
        of which there is one; it is drawn in as many glimpses as in training.

        Raises:
            UserError: if the model is of another kind, or a number is below 1.
        """
        network = self._latent("sample")
        if length is None:
            assert isinstance(network.interface.kind, LatentKind)
            length = network.interface.kind.n_sampled
        if n < 1 or length < 1:
            raise UserError(f"sample needs n and length of at least 1, got {n} and {length}.")
        made = network.samples(n, length, seed).transpose(0, 1)
        return np.asarray(made.cpu().numpy(), dtype=np.uint8)

    def _latent(self, asked_for: str) -> LatentModel:
        if not isinstance(self.network, LatentModel):
            raise UserError(
                f"{asked_for} is of models with latent variables; one of the task "
                f"{self.meaning.task} has none."
            )
        return self.network

    @property
    def _each_step(self) -> bool:
        return self.meaning.answers == "each step"

    @torch.no_grad()
    def _scores(self, read: Asked, state: States | None) -> tuple[list[Values], States]:
        """Return the scores of each sequence, (time, outputs) or (outputs,), and the states."""
        if isinstance(self.network, LatentModel):
            raise UserError(
                "a model with latent variables predicts no next step: model.bound(rolls) gives the "
                "bound on -ln p of sequences, and model.sample(n) new ones."
            )
        if isinstance(self.network, AttentionModel):
            raise UserError(
                "a model with attention reads whole examples as tensors: call it with the inputs "
                "of a window, (time, batch) or (time, batch, features), as its task lays them out."
            )
        if self.meaning.lacks and self.meaning.task not in TEXTS:
            warnings.warn(self.meaning.lacks, stacklevel=3)
        lengths = torch.tensor(read.lengths)
        joined = nn.utils.rnn.pad_sequence([torch.from_numpy(s) for s in read.sequences])
        is_padded = len(set(read.lengths)) > 1
        device = self.network.head.weight.device
        scores, after = self(joined.to(device), state, lengths if is_padded else None)
        scores = scores.cpu()
        if self.meaning.answers == "last step":
            return list(scores.numpy()), after
        if not self._each_step:
            return list(last_step(scores, lengths).numpy()), after
        return [scores[:n, place].numpy() for place, n in enumerate(read.lengths)], after

    def _named(self, scores: Values) -> Values:
        """Return the answers that scores mean: numbers, bits, or names."""
        head = self.meaning.interface.head
        if head == "gaussian":
            return scores
        if head == "bernoulli":
            return (scores > 0).astype(np.int64)
        best = scores.argmax(-1)
        names = self.meaning.outcomes
        return np.asarray(np.array(names, dtype=object)[best]) if names else np.asarray(best)

    def _answer_names(self) -> Sequence[str]:
        """Return the names of the columns of answers in a DataFrame."""
        known = self.meaning
        if known.interface.head == "categorical":
            return ("next",) if known.answers == "next symbol" else (known.label or "class",)
        return known.targets or [f"output_{k}" for k in range(known.interface.outputs)]


def _of(scale: Scale) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return scale.means, scale.scales


def last_step(scores: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the scores (batch, outputs) of the last real step of (time, batch, outputs)."""
    if lengths is None:
        return scores[-1]
    return scores[lengths.to(scores.device) - 1, torch.arange(scores.shape[1])]


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


def _drawn(scores: Tensor, temperature: float, generator: torch.Generator) -> int:
    if not temperature:
        return int(scores.argmax())
    shares = (scores.double() / temperature).softmax(0)
    return int(torch.multinomial(shares, 1, generator=generator))
