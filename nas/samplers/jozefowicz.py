"""The search of Jozefowicz, Zaremba & Sutskever 2015, section 3.1, as a sampler.

The sampler keeps a list of the best cells by score, which begins with GRU and LSTM. A trial
proposes a mutant of a cell of the list, or re-evaluates a cell of the list on new settings.
With `reexamine` a discarded mutant may come back, on new settings too (step 2 of the paper).
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.samplers.propose import Past, Proposal, Proposer


class Jozefowicz(Proposer):
    """Mutates the cells of a list of the best; only cells that passed every stage enter it."""

    def proposal(self, past: Past, rng: Random) -> Proposal:
        listed = self._list(past)
        if rng.random() >= self.config.propose:
            turns = _turns(past)
            open_ = [trial for trial in listed if self._has_fresh_settings(trial, turns)]
            if open_:
                return past.again(rng.choice(open_))
        # Until the first results arrive, the given cells are the list.
        parents = listed or [t for t in past.trials if _is_given(t) and t.params]
        return past.mutant(rng.choice(parents), rng) if parents else past.drawn(rng)

    def returning(self, past: Past, last: FrozenTrial) -> bool:
        """A rejected candidate may; not one that ends its workers, or breaks a constraint."""
        judgement = last.user_attrs.get("judgement")
        return (
            self.config.reexamine
            and last.state == TrialState.COMPLETE
            and judgement is not None
            and judgement["score"] is None
            and not judgement.get("set_aside")
            and not judgement.get("broken")
            and self._has_fresh_settings(last, _turns(past))
        )

    def _list(self, past: Past) -> list[FrozenTrial]:
        return past.scored[: self.config.list_size]

    def _has_fresh_settings(self, trial: FrozenTrial, turns: Mapping[Any, int]) -> bool:
        """Given cells never have: the score of the GRU is 1 on any settings."""
        return not _is_given(trial) and turns[trial.user_attrs.get("key")] + 1 < self.n_turns


def _turns(past: Past) -> dict[Any, int]:
    """The last turn of each cell, by key."""
    turns: dict[Any, int] = {}
    for trial in past.trials:
        key = trial.user_attrs.get("key")
        turns[key] = max(turns.get(key, 0), trial.user_attrs.get("turn", 0))
    return turns


def _is_given(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("kind") == "given"
