"""Regret curves as a picture; matplotlib is imported only for this."""

from pathlib import Path

from nas.replay.compare import AXES, Comparison


def draw(comparison: Comparison, path: Path) -> None:
    """The mean regret of each sampler over what was paid, with its band."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="tight")
    panel = figure.subplots()
    for result in comparison.results:
        means = [one.mean for one in result.band]
        # A step function's mean is one: what was paid for counts from there on.
        [line] = panel.step(comparison.points, means, where="post", label=result.name)
        low, high = [one.low for one in result.band], [one.high for one in result.band]
        panel.fill_between(
            comparison.points,
            low,
            high,
            step="post",
            alpha=0.2,
            color=line.get_color(),
            linewidth=0,
        )
    panel.set_xlabel(AXES[comparison.axis])
    panel.set_ylabel("regret (the best value minus the best so far)")
    # To a thousandth of the largest: below that, all samplers have found what there is.
    panel.set_yscale("log")
    top = comparison.results[0].band[0].mean
    panel.set_ylim(1e-3 * top, 1.2 * top)
    panel.set_xlim(0, comparison.budget)
    panel.set_title(
        f"{comparison.study}: {comparison.n_candidates} recorded candidates, "
        f"{comparison.n_seeds} seeds, 95 % intervals of the mean",
        fontsize="medium",
    )
    panel.legend()
    figure.savefig(path, format="png", dpi=120)
