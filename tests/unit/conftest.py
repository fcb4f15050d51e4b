"""What tests without a simulator share."""

import pytest

from team import Team


@pytest.fixture(scope="session")
def _teams(tmp_path_factory):
    teams = []
    yield teams
    for team in teams:
        team.close()


@pytest.fixture
def team(_teams, tmp_path_factory):
    """Two ranks, one pair for all tests; a new one where a test has cost the last a member."""
    if not _teams or not _teams[-1].whole:
        _teams.append(Team(2, tmp_path_factory.mktemp("team")))
    return _teams[-1]
