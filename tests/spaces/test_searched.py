"""Each file of a space is searched to its end: its cells are drawn, compiled, trained and told."""

import sys
from pathlib import Path

import pytest

from nas.resources import names
from tests.inline import finished_here
from tests.shares import every_eighth
from tests.studies import stored

CONFIG = """\
sampler: random
n_candidates: 2
workers: 1
tracking_uri: "off"
tasks:
  use: [memorization]
  memorization: {epochs: 1, batches_per_epoch: 3, n_params: [3000], n_symbols: 3}
protocol: {filter: false, kind: flat, n_settings: 1}
settings: {init_scale: [1.0], learning_rate: [0.5], clip_norm: [5.0], num_layers: [1]}
"""


@pytest.mark.parametrize("name", every_eighth(names("search_spaces")))
def test_two_candidates_of_each_space_are_judged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    done = finished_here([sys.executable, "-m", "nas.search", str(path), "--space", name], tmp_path)
    assert done.returncode == 0, done.stderr
    visits = [visit for visit in stored(tmp_path).visits if visit and visit.kind == "drawn"]
    assert len(visits) == 2
    for visit in visits:
        assert visit.judgement is not None
        outcomes = [one for of_one in visit.evaluated.values() for one in of_one.outcomes]
        assert [one.status for one in outcomes] == ["ok"], "a random cell learns without diverging"
        assert visit.judgement.stage == "scored"
