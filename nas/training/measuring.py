"""A trained run measured on the test split: once, with the weights that validation chose.

Nothing of it goes back into training, so that no choice depends on the test split.
"""

import time

import torch

from nas.nn.members import MemberStates
from nas.protocol.evaluation import Epoch
from nas.training.groups import Work, model_of
from nas.training.losses import measure
from nas.training.run import Run
from nas.training.windows import Totals, windows_of


def measure_test(work: Work, run: Run) -> None:
    """Note the metric of a run's best weights on the test split; nothing if it has none."""
    if run.best_weights is None:
        return
    began = time.perf_counter()
    total = _totals(work, run)
    measured = Epoch(0.0, total.losses[0], total.accuracies[0], 0.0, total.marks[0])
    run.test = measured.value(work.task.metric)
    run.test_marks = measured.marks
    run.wall_s += time.perf_counter() - began


@torch.no_grad()
def _totals(work: Work, run: Run) -> Totals:
    device = torch.device(work.device)
    model = model_of(work, [run], [0.0]).eval()
    assert run.best_weights is not None
    for name, view in model.member_state(0).items():
        view.copy_(run.best_weights[name])
    total = Totals(1)
    state: MemberStates | None = None
    for window in windows_of(work.task, "test", work.seed):
        here = window.to(device)
        y, state = model.outputs(here.inputs, None if here.fresh else state)
        losses, right = measure(y, model.head_weight, model.head_bias, here, model.interface.head)
        total.add(losses, here, right)
    return total
