"""What stands around the layers of a trained model: raw data become their input, and their output
becomes probabilities, or numbers in the data's units."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas.export.c.code import power
from nas.export.c.data import CType, Data
from nas.export.c.formats import exponent, input_exponent
from nas.export.c.network import Network, Values, int8
from nas.export.c.ranges import Ranges
from nas.export.number_format import NumberFormat
from nas.nn.meaning import Scale

MANY_DIGITS = 4096.0
"""From this ratio of a mean to its scale on, a float has too few digits for the data: they are
doubles."""


@dataclass(frozen=True)
class Row:
    """An array of the step; its exponent is that of its whole numbers, None of floats."""

    name: str
    exponent: int | None
    size: int

    @property
    def kind(self) -> CType:
        """The type of its numbers."""
        return "float" if self.exponent is None else "int16_t"


def number_type(scale: Scale) -> CType:
    """The type of numbers in the data's units."""
    pairs = zip(scale.means, scale.scales, strict=True)
    return "double" if any(abs(mean) > MANY_DIGITS * unit for mean, unit in pairs) else "float"


@dataclass
class Ends:
    """Writes statements of the step around its layers."""

    network: Network
    number_format: NumberFormat
    ranges: Ranges
    data: Data
    used: set[str]
    lines: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """The arrays on the stack."""

    def _row(self, name: str, place: int | None, size: int) -> Row:
        self.rows.append(Row(name, place, size))
        return self.rows[-1]

    def _loop(self, size: int, *statements: str) -> None:
        self.lines += [f"for (k = 0; k < {size}; k++) {{", *(f"    {s}" for s in statements), "}"]

    # In.

    def begin(self, place: int | None) -> Row:
        """The input of the first layer, with whole numbers of the exponent `place` unless None."""
        network, size = self.network, self.network.layers[0].sizes[0]
        if network.embedding is None:
            if place is None:
                return Row("x", None, size)
            row = self._row("x_1", place, size)
            self._loop(size, f"x_1[k] = {self._whole('x[k]', place)};")
            return row
        self.lines.append("/* The embedding. */")
        row = self._row("embedded", place, size)
        if network.tokens:
            self._look_up(row, network.embedding)
        else:
            self._multiply(row, network.embedding, self._normalised())
        return row

    def _whole(self, text: str, place: int) -> str:
        self.used.add("to_fixed")
        one = power(place) if place >= 0 else f"{2.0**place!r}f"
        return f"(int16_t)to_fixed({text}, {one})"

    def _normalised(self) -> Row:
        assert self.network.meaning is not None
        scale = self.network.meaning.inputs
        size, text = len(scale.means), "x[k]"
        whole = self.number_format == "int16x8"
        row = self._row("normalised", input_exponent(self.ranges) if whole else None, size)
        if not scale.is_identity:
            kind = number_type(scale)
            means, scales = np.array(scale.means), np.array(scale.scales)
            self.data.add("input_mean", kind, means, "The means of the columns.")
            self.data.add("input_scale", kind, scales, "The scales of the columns.")
            text = "(x[k] - input_mean[k]) / input_scale[k]"
            text = f"(float)({text})" if kind == "double" else text
        self._loop(
            size,
            f"normalised[k] = {text if row.exponent is None else self._whole(text, row.exponent)};",
        )
        return row

    def _look_up(self, row: Row, table: Values) -> None:
        about, size = "The embedding: a row for each symbol.", row.size
        shape = f"{len(table)} * {size}"
        if self.number_format == "float32":
            self.data.add("embedding", "float", table, about, shape)
            self._loop(size, f"embedded[k] = embedding[{size} * symbol + k];")
            return
        stored = int8(table)
        self.data.add("embedding", "int8_t", stored.values, about, shape)
        at = f"embedding[{size} * symbol + k]"
        if row.exponent is None:
            scales = "The scale of each symbol's row."
            self.data.add("embedding_scale", "float", stored.scales, scales)
            self._loop(size, f"embedded[k] = embedding_scale[symbol] * (float){at};")
            return
        shift = self._factors("embedding_scale", stored.scales, row.exponent)
        self._loop(
            size, f"embedded[k] = (int16_t)cut(scaled({at}, embedding_scale[symbol], {shift}));"
        )

    def _factors(self, name: str, scales: Values, distance: int) -> int:
        wanted = scales * 2.0**distance
        shift = max(1, int(np.floor(np.log2(32767 / wanted.max()))))
        whole = np.rint(wanted * 2.0**shift)
        kind: CType = "int16_t" if whole.max() <= 32767 else "int32_t"
        about = f"The scale of each row, times 2^{shift} in the units of the result."
        self.data.add(name, kind, whole, about)
        self.used |= {"scaled", "cut"}
        return shift

    def _multiply(self, row: Row, matrix: Values, given: Row) -> None:
        """The embedding of features, a matrix without a bias."""
        about = "The embedding: the factors of"
        if row.exponent is not None and given.exponent is not None:
            stored = int8(matrix)
            name = self.data.add("embedding", "int8_t", stored.values, f"{about} each row.")
            shift = self._factors("embedding_scale", stored.scales, row.exponent - given.exponent)
            self.used.add("dot")
            sum_ = f"dot({name} + {given.size} * k, {given.name}, {given.size})"
            self._loop(
                row.size,
                f"embedded[k] = (int16_t)cut(scaled({sum_}, embedding_scale[k], {shift}));",
            )
            return
        floats = self.as_float(given, "normalised_float")
        out = row if row.exponent is None else self._row("embedded_float", None, row.size)
        self._product(out, "embedding", matrix, floats, f"{about} one column in a line.")
        if row.exponent is not None:
            self._loop(row.size, f"embedded[k] = {self._whole('embedded_float[k]', row.exponent)};")

    def _product(
        self, out: Row, name: str, matrix: Values, given: Row, about: str, bias: str = ""
    ) -> None:
        """out = W given + bias, in floats."""
        sizes = f"{given.size}, {out.size}"
        shape = f"{given.size} * {out.size}"
        if self.number_format == "float32":
            self.data.add(name, "float", matrix.T, about, shape)
            self._loop(out.size, f"{out.name}[k] = {bias or '0.0f'};")
            self.lines.append(f"add_product({out.name}, {name}, {given.name}, {sizes});")
            self.used.add("add_product")
            return
        stored = int8(matrix)
        self.data.add(name, "int8_t", stored.values.T, about, shape)
        self.data.add(f"{name}_scale", "float", stored.scales, f"The scales of {name}.")
        self._loop(out.size, f"{out.name}[k] = 0.0f;")
        self.lines.append(f"add_product_int8({out.name}, {name}, {given.name}, {sizes});")
        self.used.add("add_product_int8")
        begin = f"{bias} + " if bias else ""
        self._loop(out.size, f"{out.name}[k] = {begin}{name}_scale[k] * {out.name}[k];")

    def as_float(self, row: Row, name: str) -> Row:
        """A row as floats."""
        if row.exponent is None:
            return row
        made = self._row(name, None, row.size)
        self._loop(row.size, f"{name}[k] = {as_float(row)};")
        return made

    # Between layers.

    def between(self, place: int, given: Row, wanted: int | None) -> Row:
        """What layer `place` reads of the one below."""
        name = f"x_{place + 1}"
        if "norm" in self.network.stacking:
            row = self._row(f"{name}_float" if wanted is not None else name, None, given.size)
            self._loop(given.size, f"{row.name}[k] = {as_float(given)};")
            self.used.add("layer_norm")
            self.lines.append(f"layer_norm({row.name}, {given.size}, 1e-05f);")
            given = row
        if given.exponent == wanted:
            return given
        assert wanted is not None, "a float is read as it is"
        row = self._row(name, wanted, given.size)
        self._loop(given.size, f"{name}[k] = {self._whole(as_float(given), wanted)};")
        return row

    def joined(self, place: int, under: Row, y: Row) -> Row:
        """A layer's output, with its input added where the stacking says so."""
        if not place or "residual" not in self.network.stacking:
            return y
        whole = self.number_format == "int16x8"
        found = exponent(*self.ranges.found[place, -1]) if whole else None
        row = self._row(f"joined_{place + 1}", found, y.size)
        text = f"{as_float(y)} + {as_float(under)}"
        self._loop(
            y.size, f"{row.name}[k] = {text if found is None else self._whole(text, found)};"
        )
        return row

    # Out.

    def end(self, y: Row) -> None:
        """Write the output `y` of the step."""
        network = self.network
        if network.head is None or network.meaning is None:
            self._loop(y.size, f"y[k] = {as_float(y)};")
            return
        self.lines += ["", "/* The output layer. */"]
        known, n_outputs = network.meaning, network.n_outputs
        is_gaussian = known.interface.head == "gaussian"
        kind = number_type(known.outputs) if is_gaussian else "float"
        scores = Row("y", None, n_outputs)
        if kind == "double":
            scores = self._row("score", None, n_outputs)
        self._scores(scores, y)
        if is_gaussian and not known.outputs.is_identity:
            self.data.add(
                "target_mean", kind, np.array(known.outputs.means), "The means of the targets."
            )
            self.data.add("target_scale", kind, np.array(known.outputs.scales), "Their scales.")
            self._loop(n_outputs, f"y[k] = target_mean[k] + target_scale[k] * {scores.name}[k];")
        elif known.interface.head == "categorical":
            self.used.add("softmax")
            self.lines.append(f"softmax(y, {n_outputs});")
        elif known.interface.head == "bernoulli":
            self.used.add("sigmoid_of")
            self._loop(n_outputs, "y[k] = sigmoid_of(y[k]);")

    def _scores(self, scores: Row, y: Row) -> None:
        assert self.network.head is not None
        matrix, bias = self.network.head
        self.data.add("head_bias", "float", bias, "The bias of the output layer.")
        if y.exponent is None:
            about = "The output layer: the factors of one value in a line."
            self._product(scores, "head", matrix, y, about, "head_bias[k]")
            return
        stored = int8(matrix)
        self.data.add("head", "int8_t", stored.values, "The output layer: the factors of each row.")
        scales = stored.scales * 2.0**-y.exponent
        self.data.add("head_scale", "float", scales, "What a sum of products is worth, by row.")
        function = "dot" if y.size <= 516 else "long_dot"
        self.used.add(function)
        sum_ = f"{function}(head + {y.size} * k, {y.name}, {y.size})"
        self._loop(scores.size, f"{scores.name}[k] = head_bias[k] + head_scale[k] * (float){sum_};")


def as_float(row: Row) -> str:
    """The code of a row's value at place k as a float."""
    if row.exponent is None:
        return f"{row.name}[k]"
    if row.exponent >= 0:
        return f"{row.name}[k] / {power(row.exponent)}"
    return f"{row.name}[k] * {power(-row.exponent)}"


def rounded_to(values: NDArray[np.float64], kind: CType) -> NDArray[np.float64]:
    """Numbers as a type of C holds them."""
    return values.astype(np.float32).astype(np.float64) if kind == "float" else values
