"""What the values of a cell are called in a sentence: "forget gate", "candidate", "the new c"."""

from nas.cell.graph import Graph, uses
from nas.cell.ops import ACTIVATIONS, INPUTS
from nas.cell.text import expression

GATES = ("sigmoid", "hard_sigmoid")
GATE_NAMES = {
    "i": "input gate",
    "f": "forget gate",
    "o": "output gate",
    "r": "reset gate",
    "z": "update gate",
}
CANDIDATES = ("g", "n", "c", "")
"""What the literature calls a candidate; "" is one without a name."""
LONGEST = 40
"""Characters of an expression in a sentence."""


class Names:
    """Names for the values of one cell."""

    def __init__(self, cell: Graph) -> None:
        self.cell = cell
        self.uses = uses(cell)
        self.users: dict[int, int] = {}
        for k in sorted(cell.live):
            for arg in cell.nodes[k].args:
                self.users[arg] = k
        self.state_of: dict[int, str] = {}
        for state, new in zip(cell.states, cell.new_states, strict=True):
            self.state_of.setdefault(new, state.name)

    def is_maps(self, i: int) -> bool:
        """Whether a value is a sum in which there is a matrix."""
        n = self.cell.nodes[i]
        if n.op == "add":
            return any(self.is_maps(arg) for arg in n.args)
        return n.op in ("linear", "block_diagonal", "masked", "skew")

    def is_layer(self, i: int) -> bool:
        """Whether a value is an activation of such a sum."""
        n = self.cell.nodes[i]
        return n.op in ACTIVATIONS and self.is_maps(n.args[0])

    def is_gate(self, i: int) -> bool:
        """Whether a value is a sigmoid, or one minus a gate."""
        n = self.cell.nodes[i]
        if n.op == "sub":
            return self.cell.nodes[n.args[0]].op == "constant" and self.is_gate(n.args[1])
        return n.op in GATES

    def role(self, i: int) -> str:
        """What a gate or a candidate is for."""
        n = self.cell.nodes[i]
        if i in self.state_of and n.name not in GATE_NAMES:
            name = self.state_of[i]
            return f"{GATE_NAMES[name]}" if name in GATE_NAMES else f"the new {name}"
        if n.op in GATES:
            return GATE_NAMES.get(n.name, f"gate {n.name}" if n.name else "a gate")
        return "candidate" if n.name in CANDIDATES else n.name

    def value(self, i: int) -> str:
        """What a value is called by what reads it."""
        n = self.cell.nodes[i]
        if n.op in INPUTS:
            return n.name
        if self.is_layer(i):
            return self.role(i)
        if i in self.state_of:
            return f"the new {self.state_of[i]}"
        if n.op == "sub" and self.is_gate(i):
            return f"1 - {self.value(n.args[1])}"
        text = expression(self.cell, i)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

    def where(self, i: int) -> str:
        """The gate, candidate, line or new state in which a value is written."""
        while not (self.is_layer(i) or i in self.state_of or self.cell.nodes[i].name):
            if i not in self.users:
                return "the output"
            i = self.users[i]
        if self.is_layer(i):
            return self.role(i)
        return f"the new {self.state_of[i]}" if i in self.state_of else self.cell.nodes[i].name

    def beginning(self, i: int, key: str, value: str) -> str:
        """What is said of a parameter or state that begins with a value."""
        n, where = self.cell.nodes[i], self.where(i)
        if n.op == "state":
            return f"state {n.name} starts at {value}"
        if key == "bias":
            how = {"None": "without bias"}.get(value, f"with a bias that starts at {value}")
            return f"{where} {how}"
        if key == "eye":
            read = ", ".join(self.value(arg) for arg in n.args)
            return f"{where}: {value} times the identity added to the matrix of {read} at the start"
        return f"{where}: {key} of {n.op} is {value}"
