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
