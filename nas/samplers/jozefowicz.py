"""The search of Jozefowicz, Zaremba & Sutskever 2015, section 3.1, as a sampler.

A list of the best cells by score, which GRU and LSTM begin; a trial proposes a mutant of one of the
list, or re-evaluates one of the list on settings that it has not been tried on.
"""

from random import Random

from optuna.trial import FrozenTrial

from nas.samplers.propose import Past, Proposal, Proposer, latest


class Jozefowicz(Proposer):
    """Mutates the cells of a list of the best; only cells that passed every stage enter it."""

    def proposal(self, past: Past, rng: Random) -> Proposal:
        listed = self._list(past)
        if rng.random() >= self.config.propose:
            open_ = [trial for trial in listed if self._has_fresh_settings(trial, past)]
            if open_:
                return Proposal(rng.choice(open_).params, again=True)
        # Until the first results are told, the given cells are the list.
        parents = listed or [t for t in past.trials if _is_given(t) and t.params]
        return past.mutant(rng.choice(parents), rng) if parents else Proposal({})

    def _list(self, past: Past) -> list[FrozenTrial]:
        scored = [trial for trial in latest(past.told) if _score(trial) is not None]
        scored.sort(key=lambda trial: (-(_score(trial) or 0.0), trial.number))
        return scored[: self.config.list_size]

    def _has_fresh_settings(self, trial: FrozenTrial, past: Past) -> bool:
        """Given cells are left out: the score of the GRU is 1 on any settings."""
        key = trial.user_attrs.get("key")
        turns = [t.user_attrs.get("turn", 0) for t in past.trials if t.user_attrs.get("key") == key]
        return not _is_given(trial) and max(turns, default=0) + 1 < self.n_turns


def _is_given(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("kind") == "given"


def _score(trial: FrozenTrial) -> float | None:
    """None for a candidate that was rejected; a trial without a judgement has its value."""
    judgement = trial.user_attrs.get("judgement")
    score = trial.value if judgement is None else judgement["score"]
    return None if score is None else float(score)
