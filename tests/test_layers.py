"""The layers of the design: a file imports only from files above it in ORDER.

An import inside a function is exempt, as it is how a lower layer may offer a convenience that a
higher one computes (`Cell.key`) and how a command stays quick to start; so is one that only a type
checker sees. A new file is one new line here.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import nas

ROOT = Path(nas.__file__).parent

ORDER = """
    nas.errors
    nas.cell.ops nas.cell.graph nas.cell.verify nas.cell.arrange nas.cell.trace nas.cell.equations
    nas.cell.reader nas.cell.text nas.cell.json nas.cell.label nas.cell.algebra nas.cell.canon
    nas.cell.distance
    nas.cell.count nas.cell.recurrence
    nas.cell.describe nas.cell.edits
    nas.cell.latex nas.cell.diagram nas.cell.layout_grid nas.cell.layout_order nas.cell.layout
    nas.cell.draw_shapes nas.cell.draw_places nas.cell.draw nas.cell.draw_write
    nas.cell.mutate_draft nas.cell.mutate_rules nas.cell.mutate_paper nas.cell.mutate_more
    nas.cell.mutate
    nas.cell
    nas.imports.genotype nas.imports.chain nas.imports.recipe nas.imports
    nas.zoo.simple nas.zoo.lstm nas.zoo.gru nas.zoo.slim nas.zoo.light nas.zoo.parallel
    nas.zoo.highway nas.zoo.genotypes nas.zoo.multiplicative nas.zoo.hierarchical
    nas.zoo.continuous nas.zoo.state_space nas.zoo.searched
    nas.zoo.missing
    nas.zoo
    nas.lookup nas nas.nearest
    nas.compile.reference nas.compile.stacked nas.compile.rows nas.compile.eager nas.compile.formula
    nas.compile.plan
    nas.compile.passes_rewrite nas.compile.passes_place nas.compile.passes_verify nas.compile.passes
    nas.compile.emit_shared nas.compile.cost nas.compile.debug
    nas.compile.emit_forward nas.compile.emit_gradients nas.compile.emit_step_back
    nas.compile.emit_backward nas.compile.emit
    nas.compile.hoist nas.compile.cache nas.compile.native
    nas.compile.buffers nas.compile.call nas.compile.loop nas.compile.ahead
    nas.compile.backend nas.compile
    nas.stacking nas.rnn nas.convert
    nas.resources
    nas.tasks.base nas.tasks.ngram nas.tasks.streams nas.tasks.contiguous nas.tasks.pinned
    nas.tasks.corpus nas.tasks.memorization
    nas.tasks.sequences nas.tasks.table nas.tasks.labelled
    nas.tasks.arithmetic nas.tasks.xml nas.tasks.text nas.tasks.words nas.tasks.csv
    nas.tasks.arrays nas.tasks.module nas.tasks.music nas.tasks.penn_treebank
    nas.tasks.digits nas.tasks.formal nas.tasks.regular nas.tasks.dyck
    nas.tasks.drawn nas.tasks.adding nas.tasks.copy_memory nas.tasks.selective_copying
    nas.tasks.recall
    nas.tasks.attended nas.tasks.copy_attention nas.tasks.arithmetic_attention nas.tasks
    nas.levels
    nas.evaluation
    nas.budget nas.model nas.sources nas.attention nas.stack nas.attention_stack nas.windows
    nas.training.memory nas.training.schedule nas.training.halving nas.training.run
    nas.training.optimizer
    nas.training.heads
    nas.training.losses nas.training.module nas.training.veto nas.training.groups
    nas.training.measuring nas.training
    nas.train nas.loading
    nas.spaces.base nas.spaces.file nas.spaces.gated nas.spaces.inverse nas.spaces.gates
    nas.spaces.descent nas.spaces.graph nas.spaces.mixed nas.spaces.listed nas.spaces.genotypes
    nas.spaces.drawn nas.spaces.recipes nas.spaces
    nas.evolution
    nas.samplers.point nas.samplers.propose nas.samplers.jozefowicz nas.samplers.regularized
    nas.samplers.quasi nas.samplers.tpe nas.samplers
    nas.settings nas.protocol_config nas.judgement nas.asking nas.protocol
    nas.visit nas.draws nas.judging
    nas.faults nas.patience nas.postgres nas.lock nas.trials nas.remote nas.storage nas.study
    nas.study_rows
    nas.spending nas.worker nas.workers
    nas.cluster nas.slot nas.slots nas.connection nas.workers_ray nas.crew
    nas.coordinator
    nas.leaderboard nas.winner nas.progress
    nas.record_place nas.record_files nas.record_entry nas.record_summary
    nas.record_view nas.record_store nas.record
    nas.record_comparison
    nas.record_model nas.record_read nas.serving
    nas.stats nas.anova nas.provenance
    nas.shortcuts nas.config nas.definition nas.closing nas.arguments nas.cli nas.search nas.status
    nas.moving_place nas.moving nas.packing nas.moving_command
    nas.report.document nas.report.html nas.report.markdown nas.report.write nas.report.facts
    nas.report.race nas.report.front nas.report.hyperparameters nas.report.ancestry
    nas.report.endings nas.report.checklist nas.report.figures nas.report.results
    nas.report.process nas.report.sections nas.record_command nas.report.command
    nas.report.__main__ nas.report
    nas.compare.config nas.compare.protocol nas.compare.space nas.compare.sources nas.compare.result
    nas.compare.drawn nas.compare.many nas.compare.many_result nas.compare.many_report
    nas.compare.picture nas.compare.many_picture
    nas.compare.report nas.compare.record nas.compare.many_record
    nas.compare.run nas.compare.confirm
    nas.compare.command nas.compare.__main__ nas.compare
    nas.curves.config nas.curves.store nas.curves.result nas.curves.report nas.curves.picture
    nas.curves.run nas.curves.command nas.curves.__main__ nas.curves
    nas.replay.table nas.replay.write nas.replay.distance nas.replay.bench nas.replay.space
    nas.replay.recorded nas.replay.run nas.replay.regret nas.replay.compare nas.replay.picture
    nas.replay.report nas.replay.command nas.replay.__main__ nas.replay
    nas.bench.config nas.bench.flags nas.bench.goals nas.bench.clock nas.bench.flops
    nas.bench.machine nas.bench.compiling nas.bench.arms nas.bench.training nas.bench.members
    nas.bench.mutants nas.bench.memory nas.bench.workers nas.bench.search nas.bench.report
    nas.bench.parts nas.bench.tables nas.bench.picture nas.bench.command nas.bench.__main__
    nas.bench.study nas.bench.coordinator
    nas.bench
    nas.export.calls nas.export.expressions nas.export.helpers nas.export.layer nas.export.stack
    nas.export.check nas.export.plain
    nas.export.source nas.export.operators nas.export.graph_step nas.export.graph
    nas.export.verify nas.export.command nas.export.__main__
    nas.export
    nas.show nas.gallery
    nas.testing.tasks nas.testing.spaces nas.testing.samplers nas.testing
""".split()

# Where each library may be named, in functions too.
LIBRARIES = {
    "torch": (
        "nas.compile*",
        "nas.rnn",
        "nas.convert",
        "nas.model",
        "nas.sources",
        "nas.attention*",
        "nas.stack",
        "nas.windows",
        "nas.train*",
        "nas.loading",
        "nas.bench*",
        "nas.export*",
        "nas.serving",
    ),
    "pytorch_lightning": ("nas.train*", "nas.windows"),
    "optuna": (
        "nas.spaces*",
        "nas.samplers*",
        "nas.faults",
        "nas.patience",
        "nas.trials",
        "nas.remote",
        "nas.storage",
        "nas.study*",
        "nas.moving_place",
        "nas.coordinator",
        "nas.search",
        "nas.replay*",
        "nas.report.hyperparameters",
        "nas.testing*",
    ),
    "mlflow": ("nas.record*", "nas.loading"),
    "ray": ("nas.slot", "nas.slots", "nas.connection", "nas.workers_ray"),
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(tree: ast.AST, *, in_functions: bool) -> Iterator[str]:
    """Every module that is imported, `a.b` for `from a import b` where that is a file."""
    for place in ast.iter_child_nodes(tree):
        if isinstance(place, ast.Import):
            yield from (alias.name for alias in place.names)
        elif isinstance(place, ast.ImportFrom):
            assert place.module, "imports are absolute"
            inner = [f"{place.module}.{alias.name}" for alias in place.names]
            yield from (name if name in FILES else place.module for name in inner)
        elif isinstance(place, ast.FunctionDef | ast.AsyncFunctionDef) and not in_functions:
            continue
        elif not (isinstance(place, ast.If) and "TYPE_CHECKING" in ast.unparse(place.test)):
            yield from imports(place, in_functions=in_functions)


def parsed(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def test_every_file_has_its_place_in_the_order():
    assert len(set(ORDER)) == len(ORDER)
    assert not sorted(set(FILES) - set(ORDER)), "write the file into ORDER"


@pytest.mark.parametrize("name", [name for name in ORDER if name in FILES])
def test_a_file_imports_only_from_files_above_it(name):
    above = ORDER[: ORDER.index(name)]
    ours = {m for m in imports(parsed(name), in_functions=False) if m.split(".")[0] == "nas"}
    assert ours <= set(above), f"{name} imports {sorted(ours - set(above))} from below"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_named_only_in_its_layer(library):
    named = {
        name
        for name in FILES
        if any(m.split(".")[0] == library for m in imports(parsed(name), in_functions=True))
    }
    strangers = [name for name in named if not any(fnmatch(name, p) for p in LIBRARIES[library])]
    assert not strangers
    assert named, "the library is not used: take it out of the table"


def test_the_check_sees_every_kind_of_import():
    text = (
        "import torch.nn\nfrom nas.tasks import ngram\nfrom nas.cell import loads\n"
        "if TYPE_CHECKING:\n    import hidden\n"
        "try:\n    import tried\nexcept ImportError:\n    pass\n"
        "class A:\n    import inside\n    def f(self):\n        import late\n"
    )
    early = ["torch.nn", "nas.tasks.ngram", "nas.cell", "tried", "inside"]
    assert list(imports(ast.parse(text), in_functions=False)) == early
    assert list(imports(ast.parse(text), in_functions=True)) == [*early, "late"]
