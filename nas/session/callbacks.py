"""Callbacks of a call from Python: functions as Optuna's users know them, and `nas.Callback`.

They run in the thread that made the call, between two looks at results, so that a slow one delays
the search. An exception in one ends the search as any error does: what is finished is kept, and the
same call goes on.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import optuna
from optuna.trial import FrozenTrial

from nas.errors import UserError
from nas.protocol.evaluation import Evaluation, Outcome, Result
from nas.session.coordinator import Coordinator, Steering
from nas.study.study import Study
from nas.study.visit import Visit


class Callback:
    """Watches a run; a subclass overrides what it needs, and may set `stops` to end the run.

    Lightning's callbacks are not taken: workers train all settings of a cell as one stack, in
    several fits, and outcomes are kept under a digest that knows nothing of a callback that changes
    them. The curves of all epochs come with `on_training_end`.
    """

    stops: bool = False
    """Set to end the run: no further cell is begun, and what is in training is trained anew when
    the same call goes on."""

    def on_training_start(self, cell: str, task: str) -> None:
        """A worker was given a cell to train on a task, by their names."""

    def on_training_end(self, cell: str, task: str, outcomes: Sequence[Outcome]) -> None:
        """The results of a cell's training on a task are in the study: one for each setting.

        `outcome.curve` has the `train_loss`, the `loss` and `accuracy` on validation and the
        `learning_rate` of each epoch; `outcome.best` is the metric, `outcome.status` how it ended.
        """

    def on_epoch_end(self, cell: str, task: str, epoch: int, best: float | None) -> None:
        """A worker has finished an epoch, counted from 1; `best` is the best metric on validation
        so far, of all settings. It is looked at twice a second, on a cluster once: of epochs that
        end between two looks the last is told."""

    def on_trial_end(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """The sampler has the result of a cell; as Optuna calls the functions of `optimize`."""


OptunaCallback = Callable[[optuna.Study, FrozenTrial], None]
"""A function that is called with the study and each trial whose result the sampler has, given cells
(GRU, LSTM and `include`) too: `trial.user_attrs["kind"]` is "given" or "drawn", ["name"] and
["cell"] are the cell's. It is called in the order of the trials' numbers. It may read all of the
study and call `study.stop()`; it may not write: the search alone does."""
AnyCallback = OptunaCallback | Callback


def checked(callbacks: Sequence[AnyCallback]) -> tuple[AnyCallback, ...]:
    """Refuse what is no callback.

    Raises:
        UserError: naming it.
    """
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise UserError(f"callbacks must be a list, got {type(callbacks).__name__}.")
    for one in callbacks:
        modules = [base.__module__.partition(".")[0] for base in type(one).__mro__]
        if {"pytorch_lightning", "lightning"} & set(modules):
            raise UserError(
                f"callbacks: {type(one).__name__} is Lightning's, and trainings run in workers, as "
                "stacks of several settings, where it could change outcomes unnoticed: subclass "
                "nas.Callback, whose on_training_end has the curves of all epochs."
            )
        if isinstance(one, type) or not (isinstance(one, Callback) or callable(one)):
            raise UserError(
                "callbacks must be functions of (study, trial) or objects of nas.Callback, got "
                f"{'the class ' if isinstance(one, type) else ''}{_name(one)}."
            )
    return tuple(callbacks)


def _name(thing: object) -> str:
    return thing.__name__ if isinstance(thing, type) else repr(thing)


class WatchedStudy(optuna.Study):
    """Optuna's view of the study of a search that runs, for callbacks; only to be read."""

    is_stopped = False

    def stop(self) -> None:
        """End the search: no further candidate is begun, as after a time budget."""
        self.is_stopped = True

    def _refuse(self, *given: object, **named: object) -> NoReturn:
        raise UserError("a callback may read the study and stop it; the search alone writes it.")

    ask = tell = optimize = enqueue_trial = add_trial = add_trials = _refuse
    set_user_attr = set_system_attr = set_metric_names = _refuse


class Calling(Steering):
    """An observer that calls the callbacks of a call; `study` is None where there is no Optuna."""

    def __init__(self, callbacks: Sequence[AnyCallback], study: Study | None) -> None:
        self.callbacks = callbacks
        self.watching = [one for one in callbacks if isinstance(one, Callback)]
        self.study = study
        self._seen = WatchedStudy(study.name, study.storage) if study else None
        self._epochs: dict[int, int] = {}
        """The last epoch that was told, by the evaluation's identity in this process."""

    @property
    def stops(self) -> bool:
        asked = self._seen is not None and self._seen.is_stopped
        return asked or any(callback.stops for callback in self.watching)

    def started(self, visit: Visit, evaluation: Evaluation) -> None:
        for callback in self.watching:
            callback.on_training_start(visit.name, evaluation.task.name)

    def stored(self, visit: Visit, evaluation: Evaluation, result: Result) -> None:
        for callback in self.watching:
            callback.on_training_end(visit.name, evaluation.task.name, result.outcomes)

    def tick(self, coordinator: Coordinator) -> None:
        names = {id(evaluation): visit.name for visit, evaluation in coordinator.busy.values()}
        for evaluation, _, look in coordinator.workers.looks() if self.watching else ():
            place = id(evaluation)
            if look and place in names and look.epoch > self._epochs.get(place, 0):
                self._epochs[place] = look.epoch
                for callback in self.watching:
                    told = (names[place], evaluation.task.name, look.epoch, look.best)
                    callback.on_epoch_end(*told)
        self._epochs = {place: n for place, n in self._epochs.items() if place in names}

    def told(self, visit: Visit) -> None:
        if self._seen is None or self.study is None:
            return
        trial: Any = copy.deepcopy(self.study.storage.get_trial(visit.trial_id))
        for callback in self.callbacks:
            call = callback.on_trial_end if isinstance(callback, Callback) else callback
            call(self._seen, trial)
