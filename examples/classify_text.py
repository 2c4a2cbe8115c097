"""A winner, or any known cell, in place of nn.LSTM in a model of your own.

    python examples/classify_text.py                 # mut1 of Jozefowicz et al. 2015
    python examples/classify_text.py --load studies/quickstart/winner/text.safetensors

The texts come with Python: is a piece of its documentation about statements, or about types?
"""

import argparse
from pydoc_data.topics import topics

import torch
from torch import nn

import nas


class Classifier(nn.Module):
    """Bytes (time, batch) to logits of two classes."""

    def __init__(self, rnn: nas.RNN) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, rnn.input_size)
        self.rnn = rnn  # or nn.LSTM(64, 64): it is called alike and gives the same shapes
        self.head = nn.Linear(rnn.output_size, 2)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        outputs, _ = self.rnn(self.embedding(text))
        return self.head(outputs.mean(0))


def pieces(topic: str, length: int = 60) -> torch.Tensor:
    """A text as bytes, cut into (pieces, length)."""
    text = topics[topic].encode("ascii", "replace")
    return torch.tensor(list(text[: len(text) // length * length])).view(-1, length)


parser = argparse.ArgumentParser()
parser.add_argument("--cell", default="mut1", help="a zoo name or a .cell file, untrained")
parser.add_argument("--load", help="a trained winner")
given = parser.parse_args()

torch.manual_seed(0)
rnn = nas.load(given.load) if given.load else nas.RNN(given.cell, input_size=64, hidden_size=64)
model = Classifier(rnn.train())
statements, types = pieces("compound"), pieces("types")
x = torch.cat([statements, types])
y = torch.tensor([0] * len(statements) + [1] * len(types))
held_out, known = torch.randperm(len(x)).split([len(x) // 5, len(x) - len(x) // 5])
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for batch in torch.randint(len(known), (200, 32)):
    loss = nn.functional.cross_entropy(model(x[known[batch]].t()), y[known[batch]])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    right = (model(x[held_out].t()).argmax(1) == y[held_out]).float().mean()
most = y[held_out].bincount().max() / len(held_out)
print(f"{rnn.cell.name}: {right:.2f} of unseen pieces right; the commoner class is {most:.2f}")
