import dataclasses
import hashlib
import itertools
import os
import pickle
import random
from pathlib import Path

import numpy as np
import pooch
import pytest

from nas.errors import UserError
from nas.tasks import corpus
from nas.tasks.base import Baseline, Split
from nas.tasks.text import Text
from nas.tasks.words import Words
from nas.testing import check_task, texts

SMALL = {"batch_size": 4, "window": 7, "batches_per_epoch": 3, "validation_batches": 1000}
SHAKESPEARE = Path(os.environ.get("NAS_DATA_DIR", "")) / "tinyshakespeare.txt"
needs_shakespeare = pytest.mark.skipif(
    not SHAKESPEARE.is_file(), reason="NAS_DATA_DIR names no folder with tinyshakespeare.txt"
)


@pytest.fixture
def words() -> str:
    """3,000 characters that a 5-gram can learn from: 40 words in random order."""
    draw = random.Random(0)
    known = ["".join(draw.choices("abcdefghijklmé", k=draw.randint(2, 9))) for _ in range(40)]
    return "".join(draw.choice(known) + draw.choice([" ", " ", "\r\n"]) for _ in range(1000))[:3000]


@pytest.fixture
def path(words: str, tmp_path: Path) -> str:
    place = tmp_path / "words.txt"
    place.write_bytes(words.encode())
    return str(place)


def streams(task: Text, split: Split, seed: int = 0, epoch: int = 0) -> list[str]:
    return texts(list(task.windows(split, seed, epoch)), task.corpus.characters)


def test_tokens_are_the_file(words: str, path: str) -> None:
    read = Text(path).corpus
    assert "".join(read.characters[token] for token in read.tokens) == words
    assert read.characters == "".join(sorted(set(words)))
    assert Text(path).interface.inputs == len(set(words))
    assert Text(path).content() == hashlib.sha256(words.encode()).hexdigest()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_character(
    encoding: str, words: str, path: str, tmp_path: Path
) -> None:
    marked = tmp_path / "marked.txt"
    marked.write_text(words, encoding=encoding, newline="")
    assert corpus.corpus(str(marked)).characters == corpus.corpus(path).characters
    assert Text(str(marked)).content() == Text(path).content()
    assert Words(str(marked)).vocabulary == Words(path).vocabulary


def test_parts_are_contiguous_and_held_out_streams_cover_theirs(words: str, path: str) -> None:
    task = Text(path, **SMALL)  # type: ignore[arg-type]
    parts: dict[Split, str] = {"validation": words[2700:2850], "test": words[2850:]}
    for split, part in parts.items():
        found = streams(task, split)
        # (150 - 1) // 4 streams = 37 characters apart; 5 whole windows of 7, and one more target.
        assert found == [part[start : start + 36] for start in (0, 37, 74, 111)]


def test_train_streams_go_round_the_training_part(words: str, path: str) -> None:
    task = Text(path, **SMALL)  # type: ignore[arg-type]
    n_epochs = 300
    epochs = [streams(task, "train", seed=5, epoch=epoch) for epoch in range(n_epochs)]
    train = words[:2700]
    for stream in range(task.batch_size):
        # The last target of an epoch is the first input of the next.
        read = "".join(epoch[stream][:-1] for epoch in epochs)
        assert len(read) == n_epochs * 3 * 7
        offset = (train * 2).index(read[:50])
        assert (train * 4)[offset:].startswith(read)
    starts = [(train * 2).index(stream) for stream in epochs[0]]
    assert {(after - before) % 2700 for before, after in itertools.pairwise(starts)} == {2700 // 4}


def test_text_is_read_once_in_a_process(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Text(path)
    first = task.corpus
    Path(path).unlink()
    assert Text(path).corpus is first

    def read(path: str) -> corpus.Corpus:
        raise AssertionError("read")

    monkeypatch.setattr("nas.tasks.text.corpus", read)
    copy = pickle.loads(pickle.dumps(Text("/no/such/file")))
    assert hash(copy) == hash(Text("/no/such/file")), "a task is made without reading"


@pytest.mark.parametrize("metric_name", ["loss", "accuracy"])
def test_a_file_conforms(path: str, metric_name: str) -> None:
    check_task(Text(path, metric_name=metric_name, **SMALL))  # type: ignore[arg-type]


def test_documentation_of_python_conforms() -> None:
    task = Text(batches_per_epoch=20)
    check_task(task)
    from pydoc_data.topics import topics

    assert task.corpus.tokens.size == sum(map(len, topics.values())) + 2 * (len(topics) - 1)


def test_version_follows_the_text(path: str, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(Path(path).read_bytes() + b"!")
    assert Text(path).content() != Text(str(other)).content()
    assert Text(path).version != Text(str(other)).version


@needs_shakespeare
def test_shakespeare_is_the_pinned_text() -> None:
    read = Text("tinyshakespeare").corpus
    assert (len(read.characters), len(read.tokens)) == (65, 1_115_394)
    assert read.sha256 == corpus.PINNED["tinyshakespeare"].sha256


@needs_shakespeare
def test_shakespeare_5_gram_is_as_measured() -> None:
    """An independent count gave 1.669 nats on the last tenth; our windows leave out 1 % of it."""
    task = Text("tinyshakespeare", validation_share=0.1, test_share=0, validation_batches=10_000)
    assert task.baseline(seed=0).value == pytest.approx(1.669, abs=0.002)


def test_pinned_text_comes_from_the_folder_or_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = ("To be, or not to be. " * 10).encode()
    pinned = corpus.Pinned("hamlet.txt", "https://h/x", hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(corpus.PINNED, "hamlet", pinned)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    cache = tmp_path / "cache.txt"
    cache.write_bytes(content)
    asked = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        asked.append((url, known_hash, fname))
        return str(cache)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(Text("hamlet").corpus.tokens) == len(content)
    assert asked == [("https://h/x", f"sha256:{pinned.sha256}", "hamlet.txt")]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hamlet.txt").write_bytes(content)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path / "data"))
    assert len(Text("hamlet").corpus.tokens) == len(content)
    assert len(asked) == 1


def test_other_content_of_a_pinned_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tinyshakespeare.txt").write_text("Now is the winter of our content.")
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=r"not the tinyshakespeare that is pinned: .* 86c4.*, got "):
        Text("tinyshakespeare").check()


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("hash does not match")])
def test_failing_fetch_is_an_error(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def retrieve(*arguments: object) -> str:
        raise error

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    with pytest.raises(UserError, match=rf"cannot be fetched \({error}\): put .* NAS_DATA_DIR"):
        Text("tinyshakespeare").check()


def test_python_without_documentation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    corpus._read.cache_clear()
    with pytest.raises(UserError, match="has no module pydoc_data: give the path of a UTF-8 file"):
        Text().check()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'there is no file ".*x.txt": give the path of a UTF-8'):
        Text(str(tmp_path / "x.txt")).check()


def test_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must name a file, .* is a folder: give the path"):
        Text(str(tmp_path)).check()


def test_unreadable_file_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_bytes(place: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\): make it readable"):
        Text(path).check()


def test_other_encodings_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Käse ".encode("latin-1") * 100)
    with pytest.raises(UserError, match=r"latin.txt\" is not UTF-8 \(byte 1 is 0xe4\): convert it"):
        Text(str(tmp_path / "latin.txt")).check()


def test_short_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("a" * 99)
    with pytest.raises(UserError, match="has 99 characters, fewer than 100: give a longer text"):
        Text(str(tmp_path / "short.txt")).check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {},
            r"the validation split has 150 characters, .* 20 \* 35 \+ 1 = 701: lower batch_size",
        ),
        ({"validation_share": 0.5, "test_share": 0.3}, "the train split has 600 characters"),
        ({"validation_share": 0.5}, "the test split has 150 characters"),
        ({"validation_share": 0.0}, "validation_share > 0, .* must hold, got 0.0 and 0.05"),
        ({"test_share": -0.1}, "test_share >= 0 .* must hold, got 0.05 and -0.1"),
        ({"validation_share": 0.6, "test_share": 0.4}, "a sum below 1 must hold, got 0.6 and 0.4"),
        ({"metric_name": "perplexity"}, 'must be one of loss, accuracy, got "perplexity"'),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(path: str, fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Text(path, **fields).check()  # type: ignore[arg-type]


def test_fewest_characters_and_windows_are_enough(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("abcde" * 20)
    task = Text(str(tmp_path / "short.txt"), batch_size=1, window=4)
    task.check()
    assert len(list(task.windows("validation", seed=0))) == 1
    # 5 characters are 5 inputs without the last target.
    with pytest.raises(UserError, match=r"has 5 characters, .* 1 \* 5 \+ 1 = 6"):
        dataclasses.replace(task, window=5).check()


def test_5_gram_knows_a_text_that_repeats(tmp_path: Path) -> None:
    (tmp_path / "again.txt").write_text("abcde" * 1000)
    task = Text(str(tmp_path / "again.txt"), batch_size=2, window=20)
    guesses = dataclasses.replace(task, metric_name="accuracy").baseline(seed=0)
    assert guesses == Baseline("5-gram", 1.0)
    assert 0 < task.baseline(seed=0).value < 0.01


def test_no_test_split_is_an_error_when_asked_for(path: str) -> None:
    task = Text(path, validation_share=0.3, test_share=0.0)
    task.check()
    with pytest.raises(UserError, match="has no test split, since test_share is 0: raise it"):
        task.windows("test", seed=0)


def test_windows_can_be_written_to(path: str) -> None:
    """A tensor that shares a read-only array warns."""
    for window in Text(path, **SMALL).windows("train", seed=0):  # type: ignore[arg-type]
        assert window.inputs.flags.writeable
        assert window.inputs.dtype == np.int64
