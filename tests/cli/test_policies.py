"""`cotenant policies` as a user runs it, whether the policies are compiled or not."""

import json

from click.testing import CliRunner

from cotenant.cli.policies import policies
from cotenant.policy import POLICIES


def test_every_policy_says_in_a_line_what_it_does():
    ended = CliRunner().invoke(policies, ["--json"])
    assert ended.exit_code == 0, ended.output
    about = json.loads(ended.stdout)
    assert list(about) == list(POLICIES)
    assert len(set(about.values())) == len(about)
    assert all(line.rstrip().endswith(".") for line in about.values())
    assert about["cotenant"].startswith("The default policy: critical tasks start at once")
