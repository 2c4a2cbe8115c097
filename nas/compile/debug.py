"""Prints what the compiler makes of a cell to stderr; the variable NAS_DEBUG chooses.

    NAS_DEBUG=passes    what each pass did
    NAS_DEBUG=plan      stages, products, regions, and what a step costs
    NAS_DEBUG=source    the generated C, or the kernels for a GPU
    NAS_DEBUG=passes,plan,source

A value has its name in the cell's text, or the number of its node: %7.
"""

import os
import sys
from collections.abc import Iterable, Iterator

from nas.cell.ops import INPUTS, OPS
from nas.cell.text import INFIX
from nas.compile.cost import Cost, Work, computed_again, cost_of, kept
from nas.compile.passes import steps
from nas.compile.plan import Plan, Product, Stage, unplanned
from nas.errors import UserError

VARIABLE = "NAS_DEBUG"
CHOICES = ("passes", "plan", "source")


def show(plan: Plan, source: str, value_bytes: int) -> None:
    """Print the texts that NAS_DEBUG names for a plan that is about to be compiled.

    Raises:
        UserError: if it names anything else.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return
    wanted = _words(given)
    texts = {
        "passes": lambda: passes_text(plan),
        "plan": lambda: plan_text(plan, value_bytes),
        "source": lambda: f"source of {_title(plan)}\n{source}",
    }
    sys.stderr.write("".join(texts[word]() for word in CHOICES if word in wanted))


def _words(given: str) -> set[str]:
    words = {word.strip() for word in given.split(",")} - {""}
    if strange := words.difference(CHOICES):
        raise UserError(
            f'{VARIABLE} may name {", ".join(CHOICES)}, with commas between; got "{min(strange)}".'
        )
    return words


def _title(plan: Plan) -> str:
    sizes = f"input {plan.sizes[0]}, hidden {plan.hidden_size}"
    return f"{plan.cell.name}: {sizes}, {plan.lanes} values a vector"


def passes_text(plan: Plan) -> str:
    """The changes by each pass, a line for each node that it touched."""
    before = unplanned(plan.cell, plan.sizes, plan.lanes, in_c=plan.in_c)
    lines = [f"passes of {_title(plan)}"]
    for step, after in steps(before):
        done = list(_changes(before, after))
        lines.append(f"{step.name}:{'' if done else ' nothing to do'}")
        lines += [f"  {line}" for line in done]
        before = after
    return "\n".join(lines) + "\n"


def _changes(before: Plan, after: Plan) -> Iterator[str]:
    for i in sorted(before.live):
        if after.same[i] != i:
            yield f"{_equation(before, i)} is {_name(after, after.same[i])}"
        elif after.node(i).op != before.node(i).op:
            yield f"{_equation(before, i)} is {_name(after, i)}"
        elif i not in after.live and before.constant(i) is None:
            yield f"{_equation(before, i)} is not needed"
    if after.depth and not before.depth:
        loop = [i for i in after.depth if after.node(i).op != "state"]
        yield from (f"hoisted: {_equation(after, i)}" for i in _hoisted(after))
        yield f"in the loop: {_listed(after, loop)}"
    if after.stages and not before.stages:
        for s, stage in enumerate(after.stages, 1):
            yield f"stage {s}: {_listed(after, (t.node for t in stage.targets))}"
    if after.regions and not before.regions:
        for s, region in enumerate(after.regions):
            yield f"region {s}: {_listed(after, region)}"


def _hoisted(plan: Plan) -> list[int]:
    given = (*INPUTS, "constant")
    return [i for i in sorted(plan.live - plan.depth.keys()) if plan.node(i).op not in given]


def plan_text(plan: Plan, value_bytes: int) -> str:
    """A plan in the order in which a step runs it, and the cost of a step."""
    lines = [f"plan of {_title(plan)}"]
    lines += [f"hoisted: {_equation(plan, i)}" for i in _hoisted(plan)]
    for s, region in enumerate(plan.regions):
        if s:
            lines += _stage_lines(plan, s, plan.stages[s - 1])
        if region:
            lines.append(f"region {s}")
            lines += [f"  {_equation(plan, i)}" for i in region]
    lines.append(f"y: {_name(plan, plan.outputs[0])}")
    for state, new in zip(plan.cell.states, plan.outputs[1:], strict=False):
        lines.append(f"next {state.name}: {_name(plan, new)}")
    lines.append(f"hoisted, read at each step: {_listed(plan, plan.hoisted)}")
    lines.append(f"kept for the backward pass: {_listed(plan, kept(plan))}")
    lines.append(f"computed again by it: {_listed(plan, computed_again(plan))}")
    lines.append(f"dependent stages a step: {plan.dependent_stages}")
    return "\n".join([*lines, *_cost_lines(cost_of(plan, value_bytes=value_bytes))]) + "\n"


def _stage_lines(plan: Plan, s: int, stage: Stage) -> Iterator[str]:
    yield f"stage {s}: {stage.columns} columns"
    for target in stage.targets:
        end = target.column + target.width - 1
        yield f"  columns {target.column} to {end}: {_equation(plan, target.node)}"
    yield from (f"  hoisted: {_product(plan, p)}" for p in stage.inputs)
    yield from (f"  at each step: {_product(plan, p)}" for p in stage.products)


def _product(plan: Plan, product: Product) -> str:
    end = product.first + product.count - 1
    size = plan.sizes[product.arg]
    return f"{_name(plan, product.arg)} ({size}) to columns {product.first} to {end}"


def _cost_lines(cost: Cost) -> Iterator[str]:
    yield f"{'operations of a step of one sequence':38}{'products':>10}{'pointwise':>11}"
    for what, work in (
        ("in the loop, forward", cost.loop),
        ("in the loop, backward", cost.loop_back),
        ("gradients of its matrices", Work(cost.loop_matrices, 0)),
        ("hoisted, forward", cost.hoisted),
        ("hoisted, backward, x being data", cost.hoisted_back),
    ):
        yield f"  {what:36}{work.products:10.0f}{work.pointwise:11.0f}"
    yield (
        f"bytes: {cost.weight_bytes} of matrices read at each step of the loop, {cost.kept_bytes} "
        f"kept a row, {cost.parameter_bytes} of parameters"
    )


def _listed(plan: Plan, nodes: Iterable[int]) -> str:
    return ", ".join(_name(plan, i) for i in nodes) or "nothing"


def _name(plan: Plan, i: int) -> str:
    value = plan.constant(i)
    return plan.node(i).name or f"%{i}" if value is None else _number(value)


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _equation(plan: Plan, i: int) -> str:
    n, args = plan.node(i), [_name(plan, arg) for arg in plan.args(i)]
    if n.op in (*INPUTS, "constant"):
        return _name(plan, i)
    if n.op in INFIX:
        text = f"{args[0]} {INFIX[n.op][0]} {args[1]}"
    else:
        defaults = OPS[n.op].attrs
        attrs = [f"{key}={value}" for key, value in n.attrs if value != defaults[key]]
        text = f"{n.op}({', '.join([*args, *attrs])})"
    return f"{_name(plan, i)} = {text}"
