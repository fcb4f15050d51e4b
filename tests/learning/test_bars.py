"""Every algorithm must pass its bar with each of five seeds: for a release, as it takes a quarter of an hour."""

import pytest

from sapg_isaaclab.experiments import bars


@pytest.mark.slow
@pytest.mark.release
@pytest.mark.parametrize("algorithm", bars.BARS)
def test_every_seed_passes_the_bar(algorithm, tmp_path):
    returns = bars.measure(algorithm, tmp_path)
    assert len(returns) == 5 and min(returns) > bars.BARS[algorithm].height(), bars.verdict(algorithm, returns)
