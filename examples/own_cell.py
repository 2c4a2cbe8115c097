"""A cell of your own, as equations, compared with the GRU and the LSTM.

    python examples/own_cell.py               # a few minutes
    python examples/own_cell.py --seeds 10    # more seeds; what was measured is not run again

Every linear(…) has a matrix for each argument and one bias. `python -m nas.show leaky.cell` draws
the cell and says which known cell is nearest. A fair verdict takes --tuning 20 and 10 seeds.
"""

import sys
from pathlib import Path

import nas
from nas.compare.command import main

EQUATIONS = '''
def leaky(x, h):
    """One gate, which reads the input alone, says how fast the state follows."""
    z = sigmoid(linear(x, bias=1))
    n = tanh(linear(x, z * h))
    return z * h + (1 - z) * n
'''
SMALL = """
    --study own_cell --tasks text --seeds 3 --tuning 2
    --tasks.text.n_params 20000 --tasks.text.epochs 4 --tasks.text.batches_per_epoch 60
    --settings.learning_rate 0.2 0.5 --settings.init_scale 1.0 --settings.num_layers 1
"""

if __name__ == "__main__":  # worker processes import this file
    cell = nas.cell(EQUATIONS)  # what is wrong with an equation is said here
    print(cell)
    for size in (32, 64):
        print(f"{cell.n_params(size, size):,} parameters at width {size}", end="; ")
    print(f"the GRU has {nas.zoo['gru'].n_params(64, 64):,} at 64")
    Path("leaky.cell").write_text(EQUATIONS.lstrip(), encoding="utf-8")
    sys.exit(main(["leaky.cell", *SMALL.split(), *sys.argv[1:]]))
