import re
import xml.etree.ElementTree as ElementTree
from collections import Counter

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.base import Window
from nas.tasks.xml import SYMBOLS, Xml
from nas.testing import check_task, pieces, texts

TAG = re.compile(r"<(/?)([a-z]+)>")


def documents(windows: list[Window]) -> set[str]:
    return pieces(windows, SYMBOLS, "\n")


def train(task: Xml, seed: int = 0) -> list[str]:
    streams = texts(list(task.windows("train", seed)), SYMBOLS)
    return [document for stream in streams for document in stream.split("\n")[:-1]]


def depth(document: str) -> int:
    """The deepest nesting of tags, which must be balanced."""
    open_tags: list[str] = []
    deepest = 0
    for slash, name in TAG.findall(document):
        if slash:
            assert open_tags.pop() == name
        else:
            open_tags.append(name)
        deepest = max(deepest, len(open_tags))
    assert not open_tags
    return deepest


@pytest.mark.parametrize("task", [Xml(), Xml(close_probability=0.3, max_iterations=7)])
def test_documents_are_well_formed(task: Xml) -> None:
    found = train(task)
    assert len(found) > 100
    for document in found:
        assert document, "an empty document"
        assert TAG.sub("", document) == ""
        assert depth(document) <= task.max_iterations
        tree = ElementTree.fromstring(f"<document>{document}</document>")
        n_tags = sum(1 for _ in tree.iter()) - 1
        assert 1 <= n_tags <= task.max_iterations
        assert len(TAG.findall(document)) == 2 * n_tags


def test_names_are_uniform_in_length_and_letters() -> None:
    names = [name for document in train(Xml()) for slash, name in TAG.findall(document) if slash]
    for counts, kinds in ((Counter(map(len, names)), 9), (Counter("".join(names)), 26)):
        expected = counts.total() / kinds
        statistic = sum((count - expected) ** 2 / expected for count in counts.values())
        assert len(counts) == kinds
        assert statistic < kinds - 1 + 5 * np.sqrt(2 * (kinds - 1))
    assert set(map(len, names)) == set(range(2, 11))


def test_rule_of_the_generator() -> None:
    """After the first tag, close (1/2) and stop (1/2): a quarter of the documents has one tag."""
    task = Xml(batches_per_epoch=1000)
    single = [len(TAG.findall(document)) == 2 for document in train(task)]
    assert np.mean(single) == pytest.approx(0.25, abs=5 * np.sqrt(0.25 * 0.75 / len(single)))


def test_after_the_last_iteration_tags_are_only_closed() -> None:
    assert {depth(document) for document in train(Xml(close_probability=0, max_iterations=5))} == {
        5
    }
    closed_at_once = train(Xml(close_probability=1))
    assert all(re.fullmatch(r"<([a-z]+)></\1>", document) for document in closed_at_once)


def test_mark_is_the_letters_of_closing_tags() -> None:
    windows = list(Xml().windows("train", seed=0))
    assert all(window.scored.all() for window in windows)
    closing = np.concatenate([window.marks["closing"] for window in windows]).T
    for stream, found in zip(texts(windows, SYMBOLS), closing.tolist(), strict=True):
        wanted = [False] * len(stream)
        for name in re.finditer("</([a-z]*)", stream):
            wanted[name.start(1) : name.end(1)] = [True] * len(name[1])
        # The first character is no target.
        assert found == wanted[1:]


@pytest.mark.parametrize("task", [Xml(), Xml(min_name_length=1, max_name_length=1)])
def test_conforms(task: Xml) -> None:
    check_task(task, documents)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_name_length": 0}, "1 <= min_name_length .* got 0 and 10"),
        ({"min_name_length": 11}, "min_name_length <= max_name_length must hold, got 11 and 10"),
        ({"close_probability": -0.1}, r"close_probability must be in \[0, 1\], got -0.1"),
        ({"max_iterations": 0}, "max_iterations must be at least 1, got 0"),
        (
            # `split_of` gives none of the 26 documents like <a></a> to the test split.
            {"min_name_length": 1, "max_name_length": 1, "max_iterations": 1},
            "so few different examples that the test split has none after 10000 draws",
        ),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Xml(**fields).check()  # type: ignore[arg-type]


def next_symbols(task: Xml, read: str) -> dict[str, float]:
    """The probability of each next symbol after a part of a document, from the generator's rule."""
    open_tags: list[str] = []
    tags = TAG.findall(read)
    for slash, name in tags:
        open_tags = open_tags[:-1] if slash else [*open_tags, name]
    tail = read[read.rfind(">") + 1 :]
    close = task.close_probability if tags else 0.0
    if len(tags) >= task.max_iterations:
        close = 1.0
    if tail == "":
        return {"<": 1.0} if open_tags else {"\n": close, "<": 1 - close}
    if tail == "<" and open_tags:
        return {"/": close, **dict.fromkeys(SYMBOLS[:26], (1 - close) / 26)}
    if tail == "<":
        return dict.fromkeys(SYMBOLS[:26], 1 / 26)
    if tail.startswith("</"):
        known = f"</{open_tags[-1]}>"
        return {known[len(tail)]: 1.0}
    length, longest, shortest = len(tail) - 1, task.max_name_length, task.min_name_length
    end = 0.0 if length < shortest else 1 / (longest - length + 1)
    return {">": end, **dict.fromkeys(SYMBOLS[:26], (1 - end) / 26)}


@pytest.mark.parametrize(
    "task",
    [
        Xml(max_name_length=4, batches_per_epoch=60),
        Xml(max_name_length=3, close_probability=0.02, max_iterations=6, batches_per_epoch=60),
        Xml(close_probability=0.8, max_iterations=3, batches_per_epoch=60),
        Xml(max_name_length=5, close_probability=0.3, max_iterations=9, batches_per_epoch=60),
    ],
)
def test_the_best_possible_accuracy_is_that_of_a_predictor_that_knows_the_generator(task) -> None:
    right, n = [], 0
    for document in train(task):
        whole = document + "\n"
        hits = 0.0
        for place, symbol in enumerate(whole):
            known = next_symbols(task, whole[:place])
            likeliest = [one for one, chance in known.items() if chance == max(known.values())]
            hits += (symbol in likeliest) / len(likeliest)
        right.append(hits - task.best_possible * len(whole))
        n += len(whole)
    deviation = np.std(right) * np.sqrt(len(right)) / n
    assert n > 25_000
    assert deviation < 0.01
    assert abs(np.sum(right)) / n < 4 * deviation


def test_the_best_possible_accuracy_of_one_tag_is_that_of_a_count() -> None:
    """`<ab></ab>` and a newline: of 10 symbols, two letters are one of 26."""
    task = Xml(min_name_length=2, max_name_length=2, max_iterations=1)
    assert task.best_possible == pytest.approx((8 + 2 / 26) / 10)
    assert Xml(max_name_length=4).best_possible == pytest.approx(0.727, abs=5e-4)
