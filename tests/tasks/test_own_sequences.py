"""Arrays and batches in the forms in which users have them: all are read as the plainest is."""

import dataclasses
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, pad_sequence
from torch.utils.data import DataLoader

from nas.errors import UserError
from nas.tasks import Arrays, Module
from nas.tasks.packed import unpacked
from nas.tasks.sequences import Data
from tests.tasks.own_data import SMALL

Sequences = list[Tensor]


def padded(sequences: Sequences) -> Tensor:
    return pad_sequence(sequences, batch_first=True)


def packed(sequences: Sequences) -> Any:
    return pack_sequence(sequences, enforce_sorted=False)


def lengths(sequences: Sequences) -> Tensor:
    return torch.tensor([len(sequence) for sequence in sequences])


FORMS: dict[str, Callable[[Sequences, Sequences], Any]] = {
    "padded": lambda x, y: (padded(x), padded(y), lengths(x)),
    "lengths (N, 1)": lambda x, y: (padded(x), padded(y), lengths(x)[:, None]),
    "packed": lambda x, y: (packed(x), packed(y)),
    "packed x": lambda x, y: (packed(x), padded(y)),
    "lists": lambda x, y: [x, y],
    "with a gradient": lambda x, y: (padded(x).requires_grad_(), padded(y), lengths(x)),
    "sorted": lambda x, y: (
        pack_sequence(sorted(x, key=len, reverse=True)),
        pack_sequence(sorted(y, key=len, reverse=True)),
    ),
}
TIME_FIRST: dict[str, Callable[[Sequences, Sequences], Any]] = {
    "time first": lambda x, y: (pad_sequence(x), pad_sequence(y), lengths(x)),
    "packed x, time first": lambda x, y: (packed(x), pad_sequence(y)),
}
WHOLE: dict[str, Callable[[Sequences, Tensor], Any]] = {
    "padded": lambda x, y: (padded(x), y, lengths(x)),
    "packed": lambda x, y: (packed(x), y),
    "y (N, 1)": lambda x, y: (packed(x), y[:, None]),
    "lists": lambda x, y: (x, list(y)),
}
WRONG: dict[str, tuple[Callable[[Sequences, Sequences], Any], str]] = {
    "mapping": (lambda x, y: {"x": x}, "got a dict in the train split: let a collate_fn make"),
    "words": (lambda x, y: (padded(x), "ab"), "y of .* must have a row for each of the 5 .* got 1"),
    "ragged": (lambda x, y: (padded(x), [1, [2, 3]] * 3), "y of .* must have a row .* got 6"),
    "half": (lambda x, y: (padded(x).bfloat16(), padded(y)), r"x of .* cannot be read .*BFloat16"),
    "lengths": (
        lambda x, y: (padded(x), padded(y), lengths(x) + 9),
        "lengths must be whole numbers from 1 to the 6 steps of x, got 1",
    ),
    "mask": (
        lambda x, y: (padded(x), padded(y), padded(x)[..., 0] > 0),
        r"lengths must have one value for each of the 5 sequences .* got the shape \(5, 6\)",
    ),
    "few": (
        lambda x, y: (packed(x), packed(y[1:])),
        "y of .* must have a row for each of the 5 sequences of x, got 4 in the train split",
    ),
}


class Ragged(pl.LightningDataModule):
    """Sequences of 2 to 6 steps, with a number for each step, or a class, in one of the forms."""

    def __init__(self, form: str, whole: bool = False) -> None:
        super().__init__()
        self.form, self.whole = form, whole

    def collate(self, batch: list[tuple[Tensor, Tensor]]) -> Any:
        x, y = map(list, zip(*batch, strict=True))
        if self.whole:
            return WHOLE[self.form](x, torch.stack([(one[0, 0] > 0).long() for one in y]))
        return ({**FORMS, **TIME_FIRST}.get(self.form) or WRONG[self.form][0])(x, y)

    def loader(self, seed: int) -> DataLoader[Any]:
        draw = torch.Generator().manual_seed(seed)
        n = torch.randint(2, 7, (25,), generator=draw).tolist()
        n[0] = 6
        examples: Any = [[torch.randn(k, w, generator=draw) for w in (2, 1)] for k in n]
        return DataLoader(examples, 5, collate_fn=self.collate)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(0)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader(1)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader(2)


def ragged(form: str, **fields: Any) -> Module:
    whole = "whole=true" if fields.get("head") == "class" else "whole=false"
    fields = {"head": "gaussian", **SMALL, **fields}
    return Module(f"{__name__}:Ragged", (f"form={form}", whole), **fields)


def same(one: Data, other: Data) -> bool:
    return one.sha256 == other.sha256 and all(
        np.array_equal(getattr(one.parts[split], name), getattr(part, name))
        for split, part in other.parts.items()
        for name in ("inputs", "targets", "scored", "starts", "lengths")
    )


@pytest.mark.parametrize("form", FORMS)
def test_batches_in_other_forms_are_the_padded_ones(form: str) -> None:
    task = ragged(form)
    task.check()
    assert same(task.data, ragged("padded").data)


@pytest.mark.parametrize("form", TIME_FIRST)
def test_batches_with_time_first_are_the_padded_ones(form: str) -> None:
    assert same(ragged(form, batch_first=False).data, ragged("padded").data)


@pytest.mark.parametrize("form", WHOLE)
def test_labels_of_sequences_in_other_forms_are_the_plain_ones(form: str) -> None:
    task = ragged(form, head="class")
    task.check()
    assert same(task.data, ragged("padded", head="class").data)


@pytest.mark.parametrize("form", WRONG)
def test_batches_in_no_form_are_one_sentence(form: str) -> None:
    with pytest.raises(UserError, match=WRONG[form][1]) as caught:
        ragged(form).check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("is_sorted", [False, True])
def test_a_packed_sequence_is_unpacked_as_torch_does(is_sorted: bool) -> None:
    lengths = [5, 4, 4, 1] if is_sorted else [1, 4, 2, 5, 4]
    sequences = [torch.randn(n, 3) for n in lengths]
    found = unpacked(pack_sequence(sequences, enforce_sorted=is_sorted))
    expected = torch.nn.utils.rnn.unpack_sequence(
        pack_sequence(sequences, enforce_sorted=is_sorted)
    )
    for one, other, given in zip(found, expected, sequences, strict=True):
        assert np.array_equal(one, other.numpy())
        assert np.array_equal(one, given.numpy())


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 6, 2))
    split = np.array(["train"] * 20 + ["validation"] * 10 + ["test"] * 10)
    lengths = random.integers(2, 7, 40)
    return {"x": x, "y": (x[:, 0, 0] > 0).astype(int), "lengths": lengths, "split": split}


def saved(path: Path, arrays: dict[str, Any], **fields: Any) -> Arrays:
    np.savez(path, **arrays)
    return Arrays(str(path), **{**SMALL, **fields})


def columns(data: Data) -> Data:
    return dataclasses.replace(data, sha256="")


@pytest.mark.parametrize("name", ["y", "lengths", "split"])
def test_an_array_of_one_value_a_sequence_may_be_a_column(
    name: str, stored: dict[str, Any], tmp_path: Path
) -> None:
    plain = saved(tmp_path / "plain.npz", stored)
    column = saved(tmp_path / "column.npz", {**stored, name: stored[name][:, None]})
    column.check()
    assert same(columns(column.data), columns(plain.data))


def test_lengths_and_targets_may_be_written_with_a_point_or_an_axis_more(
    stored: dict[str, Any], tmp_path: Path
) -> None:
    stored["y"] = np.random.default_rng(1).integers(0, 3, (40, 6))
    plain = saved(tmp_path / "plain.npz", stored, head="categorical")
    other = {**stored, "lengths": stored["lengths"] * 1.0, "y": stored["y"][..., None]}
    task = saved(tmp_path / "other.npz", other, head="categorical")
    assert same(columns(task.data), columns(plain.data))


def test_a_single_array_is_x(stored: dict[str, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", stored["x"])
    fields: dict[str, Any] = {"head": "gaussian", "horizon": 1, **SMALL}
    task = Arrays(str(tmp_path / "x.npy"), **fields)
    task.check()
    plain = saved(tmp_path / "x.npz", {"x": stored["x"]}, **fields)
    assert same(columns(task.data), columns(plain.data))
    with pytest.raises(UserError, match=r"x.npy has no array y, which head class needs without"):
        Arrays(str(tmp_path / "x.npy")).check()


NO_LENGTHS = {
    "mask": (np.ones((40, 6)), r"lengths must have one value .*, got the shape \(40, 6\)"),
    "words": (np.array(["a"] * 40), "lengths must be whole numbers .*, got a"),
    "halves": (np.full(40, 2.5), "lengths must be whole numbers .*, got 2.5"),
    "none": (np.full(40, np.nan), "lengths must be whole numbers .*, got nan"),
    "zero": (np.zeros(40, int), "lengths must be whole numbers .*, got 0"),
}


@pytest.mark.parametrize("name", NO_LENGTHS)
def test_what_is_no_length_is_one_sentence(
    name: str, stored: dict[str, Any], tmp_path: Path
) -> None:
    lengths, message = NO_LENGTHS[name]
    with pytest.raises(UserError, match=message):
        saved(tmp_path / "a.npz", {**stored, "lengths": lengths}).check()


def test_splits_of_another_shape_are_one_sentence(stored: dict[str, Any], tmp_path: Path) -> None:
    two = np.stack([stored["split"]] * 2, axis=1)
    with pytest.raises(UserError, match=r"split must have one value .*, got the shape \(40, 2\)"):
        saved(tmp_path / "a.npz", {**stored, "split": two}).check()


def damaged(content: bytes) -> Iterator[bytes]:
    """A file of arrays with parts of it lost, changed, or locked."""
    yield from (content[: len(content) * k // 10] for k in range(1, 10))
    random = np.random.default_rng(0)
    for _ in range(40):
        changed = bytearray(content)
        for place in random.integers(0, len(content), 5).tolist():
            changed[place] ^= 0xFF
        yield bytes(changed)
    locked = bytearray(content)
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[content.index(sign) + flags] |= 1  # the bit that says that a member is encrypted
    yield bytes(locked)


def refusal(task: Arrays) -> str:
    """What the task says of its file; nothing if it can be read all the same."""
    try:
        task.check()
    except UserError as error:
        return str(error)
    return ""


def test_a_damaged_file_is_one_sentence(stored: dict[str, Any], tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, **stored)
    said = []
    for k, content in enumerate(damaged(file.getvalue())):
        path = tmp_path / f"{k}.npz"
        path.write_bytes(content)
        said.append(refusal(Arrays(str(path), **SMALL)))
    assert sum(map(bool, said)) > 40
    assert not any("\n" in sentence for sentence in said)


def test_a_zip_of_other_things_is_one_sentence(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x", "no array")
    with pytest.raises(UserError, match=r"a\.npz has no array x, got none"):
        Arrays(str(tmp_path / "a.npz")).check()
