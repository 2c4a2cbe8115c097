"""The command: a plain file, an ONNX graph, C, a registered model, or several of them."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from nas.command_line import arguments_of, guarded, program
from nas.errors import UserError, refuse_credentials
from nas.export.number_format import NumberFormat
from nas.report.files import write_file

if TYPE_CHECKING:
    from nas.export.source import Source
    from nas.nn.rnn import RNN
    from nas.nn.trained import TrainedModel

DESCRIPTION = """\
Writes a cell as one plain PyTorch file that needs nothing of nas, in the shape of torch.nn.LSTM, or
of torch.nn.GRU if the cell has one state; a trained winner with its weights beside it. CELL is a
zoo name, a .cell or .json file, equations, a folder studies/NAME/winner, one of its .safetensors
files, models:/NAME@ALIAS, or any cell of a study as studies/NAME/CELL, which has its weights with
--task if the study kept them.
"""
SIZES = ("input_size", "hidden_size", "num_layers", "bidirectional", "seed")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return guarded("nas.export", lambda: export(_parsed(arguments)))


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, where OUT.py may come after flags."""
    return parser().parse_intermixed_args(arguments_of(arguments))


def parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    made = argparse.ArgumentParser(
        prog=program("export"), description=DESCRIPTION, allow_abbrev=False
    )
    made.add_argument("cell", metavar="CELL")
    made.add_argument("out", metavar="OUT.py", nargs="?", default="", help="the plain file")
    made.add_argument("--task", default="", help="which weights of a winner that has several")
    made.add_argument("--onnx", metavar="OUT.onnx", default="", help="an ONNX graph, checked")
    made.add_argument(
        "--c", metavar="DIR", default="", help="C99 for small machines: NAME.c, NAME.h, README.md"
    )
    made.add_argument(
        "--number-format",
        choices=get_args(NumberFormat),
        help="of --c: float32; int8 weights with float32 states; int16x8, int8 weights with int16 "
        "states and int32 sums (float32)",
    )
    made.add_argument("--name", default="", help="of --c: the NAME of files and functions (CELL's)")
    made.add_argument("--register", metavar="NAME", default="", help="a model of MLflow")
    made.add_argument("--alias", default="champion", help="the version's alias (champion)")
    made.add_argument(
        "--tracking-uri", default="", help="MLflow's URI; else MLFLOW_TRACKING_URI or ./mlflow.db"
    )
    fresh = made.add_argument_group(
        "fresh layers", "for --onnx, --c and --register of a cell without weights"
    )
    fresh.add_argument("--input-size", type=int, help="features of x (32)")
    fresh.add_argument("--hidden-size", type=int, help="features of a state (32)")
    fresh.add_argument("--num-layers", type=int, help="layers (1)")
    fresh.add_argument("--bidirectional", action="store_true", default=None)
    fresh.add_argument("--seed", type=int, help="seed of the weights (0)")
    return made


def export(given: argparse.Namespace) -> int:
    """Write the files and register the model that the arguments name.

    Raises:
        UserError: if an argument is wrong.
        SearchError: if an ONNX graph was not right.
    """
    refuse_credentials("--tracking-uri", given.tracking_uri)
    out, onnx = _out(given.out, ".py"), _out(given.onnx, ".onnx")
    if not (out or onnx or given.c or given.register):
        raise UserError(
            "nothing to write: give OUT.py, --onnx OUT.onnx, --c DIR or --register NAME."
        )
    chosen = {name: value for name in SIZES if (value := getattr(given, name)) is not None}
    if chosen and not (onnx or given.c or given.register):
        raise UserError(
            f"--{_flag(chosen)} is for --onnx, --c and --register; a plain file has any size."
        )
    for flag in ("number_format", "name"):
        if getattr(given, flag) and not given.c:
            raise UserError(f"--{flag.replace('_', '-')} is for --c DIR.")
    from nas.export.source import Sizes, find, module_of  # torch, once the arguments are good

    source = find(given.cell, given.task)
    if chosen and source.loaded is not None:
        raise UserError(f"--{_flag(chosen)} is for cells without weights; these have their sizes.")
    if out:
        _write_plain(source, out, _command(given))
    if onnx or given.c or given.register:
        module, described = module_of(source, Sizes(**chosen))
    if given.c:
        _write_c(source, module, given)
    if onnx:
        from nas.export.verify import SHAPES, write_onnx

        worst = write_onnx(module, onnx)
        shapes = ", ".join(f"{n_steps} x {batch}" for n_steps, batch in SHAPES)
        print(f"{onnx}: equal to torch within {worst:.0e} at (time x batch) {shapes}.")
    if given.register:
        from nas.export.source import registration
        from nas.record.model import register

        model = registration(source, module, described)
        version = register(model, given.register, given.alias, given.tracking_uri)
        name = f"models:/{given.register}@{given.alias}"
        print(f'{name}: version {version}; nas.load("{name}") reads it back.')
    return 0


def _write_c(source: "Source", module: "RNN | TrainedModel", given: argparse.Namespace) -> None:
    """Write the folder with C."""
    from nas.export.c.folder import Wanted, check_folder, check_name, write_folder
    from nas.export.source import task_of

    name, folder = given.name or source.cell.name, Path(given.c)
    check_name(name)
    check_folder(folder, name)
    note = ""
    if source.loaded is None:
        note = f"The weights are fresh, drawn with the seed {given.seed or 0}: they know nothing."
    task = task_of(source)
    if source.loaded is not None and task is None:
        note = (
            "The data of its study are not here, so ranges are those of random input and no metric "
            "was measured."
        )
    command = f"nas export {_command_of_c(given)}"
    wanted = Wanted(folder, name, given.number_format or "float32", command, note)
    written = write_folder(module, wanted, task)
    model = written.model
    print(
        f"{folder / name}.c and .h, README.md: {model.data.n_bytes:,} bytes of constants, "
        f"{model.state_bytes:,} of state, {model.multiply_adds:,} multiply-adds a step."
    )
    if note:
        print(note)


def _command_of_c(given: argparse.Namespace) -> str:
    """The arguments that write the folder again."""
    cell = "CELL" if "\n" in given.cell else shlex.quote(given.cell)
    words = [cell, "--c", shlex.quote(given.c)]
    for name in ("task", "name", "number_format", *SIZES):
        if value := getattr(given, name):
            words += [f"--{name.replace('_', '-')}", shlex.quote(str(value))]
    return " ".join(words)


def _write_plain(source: "Source", out: Path, command: str) -> None:
    """Write the plain file, and the weights of a trained model beside it."""
    from nas.export.plain import plain_file
    from nas.export.source import Sizes, module_of, plain_weights, trained

    model = trained(source)
    write_file(out, plain_file(source.cell, command, model))
    needs = "torch alone" if model is None else "torch and safetensors"
    print(f"{out}: needs {needs}; `python {out}` tests it.")
    if model is not None:
        beside = out.with_suffix(".safetensors")
        write_file(beside, plain_weights(*module_of(source, Sizes())))
        print(f"{beside}: its weights.")


def _flag(chosen: dict[str, object]) -> str:
    return next(iter(chosen)).replace("_", "-")


def _out(text: str, suffix: str) -> Path | None:
    if not text:
        return None
    path = Path(text)
    if path.suffix != suffix:
        raise UserError(f"{text} must end in {suffix}.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{text}: there is no folder {path.parent}.")
    return path


def _command(given: argparse.Namespace) -> str:
    """The command that makes the file again."""
    cell = "CELL" if "\n" in given.cell else shlex.quote(given.cell)
    task = f" --task {shlex.quote(given.task)}" if given.task else ""
    return f"python -m nas.export {cell} {shlex.quote(given.out)}{task}"
