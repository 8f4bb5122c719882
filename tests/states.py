"""States that no run of ours can have left, for tests of what must refuse them."""

import json

import pytest

NO_STATES = [
    pytest.param("state", id="not JSON"),
    pytest.param("", id="empty"),
    pytest.param("[]", id="list"),
    pytest.param('{"version":' + "[" * 100_000, id="deep"),
]


def changed(good, changes):
    """Return a good state, as JSON has it, with one field changed at a time, as parameters."""
    return [
        pytest.param(json.dumps({**good, field: value}), id=f"{field}={str(value)[:40]}")
        for field, value in changes
    ]


def assert_refused(model, states):
    """Hold that these states raise ValueError and leave the model as it was."""
    before = model.states()
    with pytest.raises(ValueError, match=r"."):
        model.restore(states)
    assert model.states() == before
