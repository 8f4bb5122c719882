"""What tests of many modules share: our API, comms that write down, a browser."""

import os

import comm
import pytest
from comm.base_comm import CommManager
from ipywidgets.widgets.widget import _instances as registry

from comms import Comm
from promo import ui
from promo.embedded import EmbeddedAPI
from tools import chromium

# Of clusters that tests start as others would: Python before 3.11.9 may hang when it is profiled
# as Dask does it (CPython's gh-106883).
os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"


@pytest.fixture(scope="module")
def api(request, tmp_path_factory):
    """Serve made-up employees, as many as the module has for ROWS, from a process of its own."""
    data = tmp_path_factory.mktemp("api") / "data.db"
    with EmbeddedAPI(rows=request.module.ROWS, data=data, port=0) as api:
        yield api


@pytest.fixture
def comms(monkeypatch):
    """Give widgets comms that write down; in the end nothing of promo's may be left open."""
    manager = CommManager()
    monkeypatch.setattr(comm, "create_comm", Comm)
    monkeypatch.setattr(comm, "get_comm_manager", lambda: manager)
    before = set(registry)
    Comm.sent, Comm.alone = [], []
    yield
    ui.close_all()
    for name in set(registry) - before:
        registry[name].close()


@pytest.fixture(scope="module")
def browser(chromium_path):
    """Start a Chromium."""
    with chromium.launched(chromium_path) as browser:
        yield browser
