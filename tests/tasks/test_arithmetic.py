import itertools
import re
from collections import Counter

import numpy as np
import pytest

from nas.errors import UserError
from nas.tasks.arithmetic import SYMBOLS, Arithmetic, _value
from nas.tasks.base import Window, split_of
from nas.testing import check_task, pieces, texts

EXAMPLE = re.compile(r"(?P<read>[^=.]+=)(?P<answer>-?\d+)\.")
EXPRESSION = re.compile(r"(-?\d+)([+-])(-?\d+)=")
SMALL = Arithmetic(max_digits=2, batches_per_epoch=20, validation_batches=10)


def without_letters(text: str) -> str:
    return re.sub("[a-z]", "", text)


def expressions(windows: list[Window]) -> set[str]:
    return {without_letters(piece).split("=")[0] for piece in pieces(windows, SYMBOLS, ".")}


def streams(task: Arithmetic, seed: int = 0) -> list[str]:
    return texts(list(task.windows("train", seed)), SYMBOLS)


def examples(task: Arithmetic) -> list[re.Match[str]]:
    return [match for stream in streams(task) for match in EXAMPLE.finditer(stream)]


def test_paper_sample_is_an_example() -> None:
    sample = EXAMPLE.fullmatch("3e36d9-h1h39f94eeh43keg3c=-13991064.")
    assert sample
    assert without_letters(sample["read"]) == "3369-13994433="
    assert _value("3369-13994433=") == int(sample["answer"]) == 3369 - 13994433


@pytest.mark.parametrize("task", [Arithmetic(), SMALL, Arithmetic(max_digits=18)])
def test_answers_are_the_integers_of_python(task: Arithmetic) -> None:
    for stream in streams(task):
        assert EXAMPLE.sub("", stream).count(".") == 0, "only a cut-off example is left over"
    assert len(examples(task)) > 300
    for example in examples(task):
        expression = EXPRESSION.fullmatch(without_letters(example["read"]))
        assert expression, example
        left, operator, right = expression.groups()
        assert all(str(int(operand)) == operand for operand in (left, right)), "-0 or 012"
        value = int(left) + int(right) if operator == "+" else int(left) - int(right)
        assert str(value) == example["answer"], example


def test_answer_and_full_stop_are_scored() -> None:
    windows = list(Arithmetic().windows("train", seed=0))
    scored = np.concatenate([window.scored for window in windows]).T
    for stream, found in zip(texts(windows, SYMBOLS), scored.tolist(), strict=True):
        wanted = [False] * len(stream)
        for example in re.finditer(r"=(-?\d*\.?)", stream):
            wanted[example.start(1) : example.end(1)] = [True] * len(example[1])
        # The first character is no target.
        assert found == wanted[1:]


def test_distributions_are_uniform() -> None:
    n_digits, gaps, operators, signs = Counter[int](), Counter[int](), Counter[str](), []
    for seed in range(3):
        for stream in streams(Arithmetic(), seed):
            for example in EXAMPLE.finditer(stream):
                read = example["read"]
                assert not read[0].isalpha()
                gaps.update(len(gap) for gap in re.split(r"[^a-z]", read)[1:-1])
                left, operator, right = EXPRESSION.fullmatch(without_letters(read)).groups()  # type: ignore[union-attr]
                n_digits.update(len(operand.lstrip("-")) for operand in (left, right))
                signs += [operand[0] == "-" for operand in (left, right) if operand != "0"]
                operators[operator] += 1
    for counts, kinds in ((n_digits, 8), (gaps, 4), (operators, 2)):
        # A chi-squared value above 5 deviations is no chance of the draw.
        expected = counts.total() / kinds
        statistic = sum((count - expected) ** 2 / expected for count in counts.values())
        assert len(counts) == kinds
        assert statistic < kinds - 1 + 5 * np.sqrt(2 * (kinds - 1))
    assert np.mean(signs) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(len(signs)))


def test_letters_are_uniform_and_independent() -> None:
    first, repeated = Counter[str](), []
    for example in examples(Arithmetic()):
        letters = [gap[0] for gap in re.split(r"[^a-z]", example["read"]) if gap]
        first.update(letters)
        repeated += [one == other for one, other in itertools.pairwise(letters)]
    expected = first.total() / 26
    statistic = sum((count - expected) ** 2 / expected for count in first.values())
    assert statistic < 25 + 5 * np.sqrt(2 * 25)
    assert np.mean(repeated) == pytest.approx(1 / 26, abs=5 * np.sqrt(1 / 26 / len(repeated)))


@pytest.mark.parametrize("operator", ["+", "-"])
def test_operators_and_signs_can_be_limited(operator: str) -> None:
    task = Arithmetic(operators=operator, sign_probability=0, max_distractors=0)  # type: ignore[arg-type]
    reads = [example["read"] for example in examples(task)]
    assert reads
    assert all(re.fullmatch(rf"\d+{re.escape(operator)}\d+=", read) for read in reads)


@pytest.mark.parametrize("task", [SMALL, Arithmetic(), Arithmetic(max_digits=1)])
def test_conforms(task: Arithmetic) -> None:
    check_task(task, expressions)


def test_split_is_that_of_the_expression_without_letters() -> None:
    found = expressions(list(SMALL.windows("test", seed=3)))
    assert {split_of(f"{expression}=".encode()) for expression in found} == {"test"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_digits": 0}, r"max_digits must be in \[1, 18\], got 0"),
        ({"max_digits": 19}, r"max_digits must be in \[1, 18\], got 19"),
        ({"sign_probability": 1.5}, r"sign_probability must be in \[0, 1\], got 1.5"),
        ({"max_distractors": -1}, "max_distractors must be at least 0, got -1"),
        ({"operators": "*"}, r'operators must be one of \+-, \+, -, got "\*"'),
        ({"window": 0}, "window must be at least 1, got 0"),
    ],
)
def test_fields_out_of_range_are_errors(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Arithmetic(**fields).check()  # type: ignore[arg-type]
