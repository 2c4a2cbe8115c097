"""Word problems of groups, against sympy's groups and products of permutation matrices."""

import itertools
from collections import Counter

import numpy as np
import pytest
from sympy.combinatorics import Permutation, PermutationGroup
from sympy.combinatorics.named_groups import AlternatingGroup, CyclicGroup, SymmetricGroup

from nas.errors import UserError
from nas.tasks import A5, S3, Cyclic
from nas.tasks.groups import Group
from nas.testing import check_task

SMALL = {"batches_per_epoch": 20, "validation_batches": 5, "batch_size": 20, "max_length": 12}
CYCLES = [Cyclic(order=order) for order in (2, 5, 60)]
KNOWN: list[tuple[Group, PermutationGroup]] = [
    *((task, CyclicGroup(task.order)) for task in CYCLES),
    (S3(), SymmetricGroup(3)),
    (A5(), AlternatingGroup(5)),
]


def name_of(value: object) -> str | None:
    return f"{value.name}{len(value.elements)}" if isinstance(value, Group) else None


each_group = pytest.mark.parametrize("task", [task for task, _ in KNOWN], ids=name_of)


def products(task: Group) -> np.ndarray:
    """At [a, b], the target after the elements a and b were read."""
    n = len(task.elements)
    pairs = np.array(list(itertools.product(range(n), repeat=2))).T
    return task.labelled(pairs).targets[-1].reshape(n, n)


@pytest.mark.parametrize(("task", "group"), KNOWN, ids=name_of)
def test_elements_and_products_are_those_of_sympy(task, group) -> None:
    """sympy's `a * b` lets a act first, too."""
    elements = [Permutation(list(element)) for element in task.elements]
    assert set(elements) == set(group.elements)
    table = products(task)
    picked = np.random.default_rng(0).integers(len(elements), size=(200, 2))
    for a, b in picked.tolist():
        assert elements[table[a, b]] == elements[a] * elements[b]


@each_group
def test_the_axioms_of_a_group_hold(task) -> None:
    table = products(task)
    numbers = np.arange(len(table))
    assert (table[0] == numbers).all(), "0 is the identity"
    assert (table[:, 0] == numbers).all()
    assert (np.sort(table, 0) == numbers[:, None]).all(), "columns are permutations: inverses exist"
    assert (np.sort(table, 1) == numbers).all()
    left, right = table[table], table[:, table]  # (a b) c at [a, b, c], and a (b c)
    assert (left == right).all()


def test_sizes_and_commutativity() -> None:
    assert [len(task.elements) for task, _ in KNOWN] == [2, 5, 60, 6, 60]
    commute = [(products(task) == products(task).T).all() for task, _ in KNOWN]
    assert commute == [True, True, True, False, False]
    sums = np.add.outer(np.arange(60), np.arange(60)) % 60
    assert (products(Cyclic(order=60)) == sums).all()


@pytest.mark.parametrize("tokens", ["elements", "generators"])
@each_group
def test_targets_are_products_of_permutation_matrices(task, tokens) -> None:
    """The matrix of p has a 1 at [i, p(i)], so that the matrix of "p, then q" is P Q."""
    task = type(task)(**{**SMALL, "tokens": tokens}, **cycle_of(task))
    matrices = np.array([np.eye(len(one), dtype=int)[list(one)] for one in task.elements])
    read = task.elements if tokens == "elements" else task.generators
    for split in ("train", "test"):
        for window in itertools.islice(task.windows(split, seed=0), 3):
            assert window.fresh
            assert window.scored.all()
            assert window.marks["last"][-1].all()
            assert not window.marks["last"][:-1].any()
            for string, targets in zip(window.inputs.T[:4], window.targets.T, strict=False):
                product = np.eye(len(read[0]), dtype=int)
                for token, target in zip(string, targets, strict=True):
                    product = product @ np.eye(len(read[0]), dtype=int)[list(read[token])]
                    assert (matrices[target] == product).all()


def cycle_of(task: Group) -> dict[str, int]:
    return {"order": task.order} if isinstance(task, Cyclic) else {}


def test_the_order_of_a_product_is_that_of_reading() -> None:
    """A swap of the first two of abc and then a turn: 0 goes to 1 and on to 2."""
    task = S3(tokens="generators")
    window = task.labelled(np.array([[0, 1], [1, 0]]))
    assert [task.elements[target] for target in window.targets[-1]] == [(2, 1, 0), (0, 2, 1)]


@pytest.mark.parametrize("tokens", ["elements", "generators"])
@each_group
def test_conforms(task, tokens) -> None:
    fields = {**SMALL, "tokens": tokens, "test_lengths": (10, 20)}
    check_task(type(task)(**fields, **cycle_of(task)))


def test_the_simple_predictor_knows_the_first_step_alone() -> None:
    """After a token its own element is the commonest product, as at the first step; every later
    product is uniform, whatever was read last."""
    task = S3(batches_per_epoch=200, validation_batches=60, max_length=12)
    lengths = [len(window.inputs) for window in task.windows("validation", seed=0)]
    expected = sum(1 + (length - 1) / 6 for length in lengths) / sum(lengths)
    baseline, n = task.baseline(0), task.batch_size * sum(lengths)
    assert baseline.name == "last symbol"
    assert baseline.value == pytest.approx(expected, abs=5 * np.sqrt(expected / n))
    assert task.chance() == 1 / 6
    assert task.perfect == 1.0


def test_all_products_are_alike_likely_from_the_first_step_on() -> None:
    task = S3()
    drawn = b"".join(itertools.islice(task.strings(np.random.default_rng(0), 4), 30_000))
    symbols = np.frombuffer(drawn, np.uint8).astype(np.int64).reshape(-1, 4).T
    for products_of_step in task.labelled(symbols).targets:
        counts = Counter(products_of_step.tolist())
        assert max(abs(counts[k] - 5000) for k in range(6)) < 5 * np.sqrt(5000)


def test_a_model_answers_each_step_with_an_element() -> None:
    """Z_m and the others read as many symbols as they write, but do not predict the next one."""
    for task, _ in KNOWN:
        assert task.answers == "each step"
        assert len(task.legend()["classes"]) == task.interface.outputs
    assert S3().legend()["classes"] == ["012", "021", "102", "120", "201", "210"]
    assert S3(tokens="generators").interface.inputs == 2


@pytest.mark.parametrize("order", [1, 101])
def test_orders_out_of_range_are_errors(order: int) -> None:
    with pytest.raises(UserError, match=rf"cyclic.order must be in \[2, 100\], got {order}"):
        Cyclic(order=order).check()
