"""A file narrows the space of gated cells; whatever is wrong with a file is said."""

import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

import nas.spaces
from nas.errors import UserError
from nas.resources import find, names
from nas.spaces import SPACES, Gates, Space, load_space
from nas.spaces.gates import ALLOWED
from nas.testing.spaces import check_space
from nas.zoo import ZOO
from tests.spaces.test_gates import GRU

SPACE = load_space("gates")


def edited(folder: Path, **fields: str) -> Space:
    """The space of a copy of gates.yaml in which some fields have another value."""
    text = find("search_spaces", "gates").read_text()
    for field, value in fields.items():
        text, n_found = re.subn(rf"(?m)^{field}:.*$", f"{field}: {value}", text)
        assert n_found == 1, field
    (folder / "mine.yaml").write_text(text)
    return load_space(str(folder / "mine.yaml"))


NARROWED = [
    ({"states": "[merged]"}, 604, "gru", "lstm"),
    pytest.param({"states": "[separate]"}, 24_152, "lstm", "gru", marks=pytest.mark.process),
    pytest.param(
        {"candidate_activation": "[relu]"}, 6_189, "", "lstm_np", marks=pytest.mark.process
    ),
    ({"forget_bias": "[0, 1]", "states": "[merged]"}, 412, "gru_v1", "lstm_b"),
    pytest.param(
        {"gate_recurrence": "[false]"}, 12_684, "lstm_cifg", "lstm_fgr", marks=pytest.mark.process
    ),
    ({"output_gate": "[none]"}, 3_012, "lstm_nog", "lstm"),
]


@pytest.mark.parametrize(("fields", "size", "inside", "outside"), NARROWED)
def test_edited_copy_is_narrower(
    tmp_path: Path, fields: dict[str, str], size: int, inside: str, outside: str
) -> None:
    space = edited(tmp_path, **fields)
    assert space.name == "mine"
    assert space.size() == size
    assert f"{size:,}" in space.describe()
    assert space.version != SPACE.version
    check_space(space, [ZOO[inside]] if inside else [])
    assert not space.contains(ZOO[outside])
    for field, value in fields.items():
        fixed = "," not in value
        assert (f"{field} {value.strip('[]')}" in space.describe()) == fixed


def test_single_choice_is_not_suggested(tmp_path: Path) -> None:
    space = edited(tmp_path, states="[merged]", beta="0", update_gate="[xh]")
    params = space.params_of(ZOO["gru"])
    assert params == {k: v for k, v in GRU.items() if k not in ("states", "beta", "update_gate")}
    assert space.propose(FixedTrial(params)) == SPACE.propose(FixedTrial(GRU))


def test_one_point_is_a_space(tmp_path: Path) -> None:
    fields = {field: "[xh]" for field in ("update_gate", "reset_gate")}
    fields |= {"states": "[merged]", "candidate_activation": "[tanh]", "forget_bias": "[0.0]"}
    fields |= {"reset_place": "[before]", "shared_gate": "[false]", "beta": "[0]"}
    space = edited(tmp_path, **fields)
    assert space.size() == 1
    assert space.params_of(ZOO["gru"]) == {}
    assert space.propose(FixedTrial({})).key == ZOO["gru"].key


def test_field_that_is_left_out_has_all_its_choices(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text("kind: gates\n")
    assert load_space(str(path)) == SPACE == Gates()


def test_version_depends_on_the_choices_alone(tmp_path: Path) -> None:
    assert edited(tmp_path, forget_bias="[2, 1, 0]  # turned round").version == SPACE.version
    versions = {SPACE.version}
    versions |= {
        edited(tmp_path, **{field: f"[{text(ALLOWED[field][0])}]"}).version for field in ALLOWED
    }
    assert len(versions) == 1 + len(ALLOWED)


def text(choice: object) -> str:
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


def test_file_explains_every_field() -> None:
    lines = find("search_spaces", "gates").read_text().splitlines()
    for field, choices in ALLOWED.items():
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{field}: "))
        assert lines[place] == f"{field}: [{', '.join(map(text, choices))}]"
        block = place
        while lines[block - 1] and not lines[block - 1].startswith("#"):
            block -= 1  # fields of one comment
        assert lines[block - 1].startswith("# ")


def said(message: str) -> str:
    """The message as a pattern, in which ... stands for anything."""
    return re.escape(message).replace(r"\.\.\.", ".*")


ERRORS = [
    ("stats: [merged]", 'mine.yaml: no field "stats". Did you mean "states"? Known: beta, '),
    (
        "states: [fused]",
        "states must be among its allowed choices, got fused. Allowed: separate, merged.",
    ),
    (
        "forget_bias: [0, 3]",
        "forget_bias must be among its allowed choices, got 3. Allowed: 0, 1, 2.",
    ),
    ("forget_bias: [true]", "forget_bias must be among its allowed choices, got true."),
    ("input_peephole: [1]", "input_peephole must be among ... got 1. Allowed: false, true."),
    ("input_gate: {x: h}", "input_gate must be among ... got {'x': 'h'}. Allowed: xh, x, h, none."),
    (
        "output_activation:",
        "output_activation must be among ... got None. Allowed: tanh, relu, identity.",
    ),
    ("ungated_output_activation: identity", "ungated_... got identity. Allowed: tanh, relu."),
    ("beta: []", "beta must have at least one choice, got none. Allowed: 0, 1."),
    ("forget_bias: [1, 1.0]", "forget_bias must name each choice once, got 1 twice."),
    ("beta: 0\nbeta: 1", 'the field "beta" must be written once, got it 2 times.'),
    ("beta: [0", "mine.yaml: not YAML, ...line 3"),
    ("beta: 2026-13-45", "mine.yaml: not YAML, month must be"),
]


@pytest.mark.parametrize(("line", "message"), ERRORS, ids=[line for line, _ in ERRORS])
def test_wrong_field_is_an_error(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: gates\n{line}\n")
    with pytest.raises(UserError, match=said(message)):
        load_space(str(path))


FILES = [
    (
        b"states: [merged]\n",
        'the field "kind" is missing; it must be one of gates, graph, bred, mixed, genotypes, '
        "recipes, cells.",
    ),
    (b"kind: gate\n", 'no kind of space "gate". Did you mean "gates"?'),
    (b"- kind: gates\n", 'a space is written as lines "field: '),
    (b"", 'a space is written as lines "field: '),
    (b"kind: gates # \xff\n", "mine.yaml: not UTF-8 text."),
]


@pytest.mark.parametrize(("content", "message"), FILES)
def test_wrong_file_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said(message)):
        load_space(str(path))


def test_unknown_space_is_an_error() -> None:
    with pytest.raises(UserError, match=said('no space "gate". Did you mean "gates"?')):
        load_space("gate")
    with pytest.raises(UserError, match=said("space file none.yaml: no such file.")):
        load_space("none.yaml")


def test_every_kind_is_listed_and_every_file_loads() -> None:
    found: set[type[Space]] = set()
    for module in pkgutil.iter_modules(nas.spaces.__path__, "nas.spaces."):
        kinds = vars(import_module(module.name)).values()
        found |= {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Space)}
    assert found - {Space} == set(SPACES.values())
    for name in names("search_spaces"):
        assert load_space(name).name == name


@pytest.mark.process
def test_import_is_light() -> None:
    code = "import sys, nas.spaces; print({'optuna', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
