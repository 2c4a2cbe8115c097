"""A cell, or a search's winner, in place of nn.LSTM in a model of your own.

    python examples/classify_text.py                 # mut1 of Jozefowicz et al. 2015, fresh weights
    python examples/classify_text.py --load studies/overnight/winner/text.safetensors

Is a piece of Python's documentation about statements, or about types? 300 pieces have a label.
"""

import argparse
import copy
from pydoc_data.topics import topics

import torch
from torch import nn

import nas


class Classifier(nn.Module):
    """Characters (time, batch) to logits of two classes."""

    def __init__(self, embedding: nn.Embedding, rnn: nas.RNN) -> None:
        super().__init__()
        self.embedding, self.rnn = embedding, rnn  # or nn.LSTM(64, 64), which is called alike
        self.head = nn.Linear(2 * rnn.output_size, 2)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.rnn(self.embedding(text))
        return self.head(torch.cat([outputs.mean(0), outputs.amax(0)], dim=-1))


parser = argparse.ArgumentParser()
parser.add_argument("--cell", default="mut1", help="a zoo name or a .cell file, untrained")
parser.add_argument("--load", help="a trained winner")
given, vocabulary = parser.parse_args(), tuple(map(chr, range(128)))
torch.manual_seed(0)
if given.load:
    trained = nas.load(given.load)
    vocabulary, fresh = trained.vocabulary, copy.deepcopy(trained.network)
    fresh.reset_parameters(1.0, torch.Generator().manual_seed(0))
    networks = {"trained": trained.network, "fresh": fresh}
else:
    embedding, rnn = nn.Embedding(128, 64), nas.RNN(given.cell, input_size=64, hidden_size=64)
    networks = {"fresh": nn.ModuleDict({"embedding": embedding, "rnn": rnn})}
texts = [[vocabulary.index(c) for c in topics[t] if c in vocabulary] for t in ("compound", "types")]
parts = [torch.tensor(text[: len(text) // 60 * 60]).view(-1, 60) for text in texts]
order = torch.randperm(sum(map(len, parts)))
x, y = torch.cat(parts)[order], (order >= len(parts[0])).long()
for name, network in networks.items():
    model = Classifier(network.embedding, network.rnn.train())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for batch in torch.randint(300, (300, 32)):
        loss = nn.functional.cross_entropy(model(x[batch].t()), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = (model(x[300:].t()).argmax(1) == y[300:]).float().mean()
    print(f"{network.rnn.cell.name}, {name} weights: {right:.2f} of unseen pieces right")
print(f"the commoner class: {y.bincount().max() / len(y):.2f}")
