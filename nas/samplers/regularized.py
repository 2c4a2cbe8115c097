"""Regularized evolution, Real, Aggarwal, Huang & Le 2019, arXiv:1802.01548, algorithm 1.

The population is the youngest cells, whatever their results: the oldest dies. A tournament among
some of them chooses the parent. The paper has 100 cells and tournaments of 25 for 20,000 models;
the defaults here suit searches of hundreds.
"""

from random import Random

from nas.samplers.propose import Past, Proposal, Proposer, best_of


class Regularized(Proposer):
    """Mutates the best of a few of the youngest cells; rejected ones take part with their value.

    With several objectives it is one of those that no other of the few dominates.
    """

    def proposal(self, past: Past, rng: Random) -> Proposal:
        living = past.complete[-self.config.population :]
        if len(living) < self.config.population:
            return past.drawn(rng)
        # With replacement, as in the paper's algorithm.
        drawn = rng.choices(living, k=self.config.tournament)
        return past.mutant(best_of(drawn, rng), rng)
