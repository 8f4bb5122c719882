"""Tests of the live cell in a real kernel, with the messages that JupyterLab sends to widgets."""

import json
import os
import queue
import re
import sqlite3
import time
from contextlib import closing, contextmanager
from functools import partial

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from clocks import wait_for
from crash import open_trainer
from promo.embedded import EmbeddedAPI

ROWS = 20_000
DEADLINE_S = 30
BUILD = """
from promo import PageStream, Store, Trainer, ui
from promo.models.default import default_models
models, settings = default_models()
stream = PageStream({url!r}, source={source!r})
store = Store({path!r}, source=stream.source, page_size=10, settings=settings)
trainer = Trainer(stream, store, models, speed=50)
controls = ui.Controls(trainer)
switch, editor = ui.ColliderSwitch(), ui.StoryEditor(trainer)
slopes = ui.CoefficientFigure(switch)
publisher = ui.Publisher(trainer, [controls, ui.LossFigure(), slopes, editor])
board = ui.Board([controls], [switch], [slopes], [editor])
"""
WIDGETS = ("play", "step", "stop", "speed", "learning_rate", "start_over", "status")
IDS = (
    f"{{name: getattr(controls, name).model_id for name in {WIDGETS}}}"
    " | {'frames': publisher.frames.model_id, 'write': editor.write.model_id}"
    " | {name: getattr(switch, name).model_id for name in ('promoted', 'anytime', 'robust')}"
    " | {f'{one} -> {other}': box.model_id for (one, other), box in editor.arrows.items()}"
    " | {f'path of {formula}': path.model_id for formula, path in slopes.paths.items()}"
)
pytestmark = pytest.mark.slow


class Kernel:
    """A kernel of this Python and its client, which speaks to widgets as JupyterLab does."""

    def __init__(self, manager, path, folder):
        self.manager, self.path = manager, path
        manager.start_kernel(cwd=str(folder), env=os.environ | {"PROMO_DATA": str(folder)})
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code, result="None"):
        """Run a cell to its end; return the value of an expression, as a repr."""
        said = self.client.execute_interactive(
            code, user_expressions={"it": result}, timeout=DEADLINE_S, output_hook=lambda _: None
        )
        assert said["content"]["status"] == "ok", said["content"]
        return said["content"]["user_expressions"]["it"]["data"]["text/plain"]

    def build(self, api):
        """Run the live cell of the notebook; take down the ids of its widgets."""
        code = BUILD.format(url=api.url, source=api.source, path=str(self.path))
        self.ids = eval(self.run(code, IDS))

    def subshell(self):
        """Ask for a subshell, and return its id."""
        request = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(request)
        while True:
            reply = self.client.get_control_msg(timeout=DEADLINE_S)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                return reply["content"]["subshell_id"]

    def tell(self, widget, data, subshell_id=None):
        """Send a comm message to a widget, to a subshell or to the main shell."""
        content = {"comm_id": self.ids[widget], "data": data}
        message = self.client.session.msg("comm_msg", content)
        message["header"]["subshell_id"] = subshell_id
        self.client.shell_channel.send(message)

    def meet(self, widgets, subshell_id):
        """Have these widgets heard over one shell, so in order.

        ipykernel takes a message where the widget's last answer came from.
        """
        for widget in widgets:
            self.tell(widget, {"method": "request_state"}, subshell_id)
        self.run("")

    def click(self, button, subshell_id=None):
        """Press a button."""
        click = {"method": "custom", "content": {"event": "click"}}
        self.tell(button, click, subshell_id)

    def set(self, slider, subshell_id=None, **state):
        """Let go of a slider."""
        self.tell(slider, {"method": "update", "state": state, "buffer_paths": []}, subshell_id)

    def query(self, sql):
        """Ask the store, from outside."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def page(self):
        """Newest page in the store, -1 if there is none."""
        return self.query("SELECT coalesce(max(page), -1) FROM page")[0][0]

    def kinds(self):
        """List the kinds of events in the store, in order."""
        return [kind for (kind,) in self.query("SELECT kind FROM event ORDER BY seq")]

    def stories(self):
        """List the arrows of the stories that were written down, in order."""
        ask = "SELECT json_extract(detail, '$.arrows') FROM event WHERE kind = 'story'"
        return [json.loads(arrows) for (arrows,) in self.query(ask)]

    def rates(self):
        """List the learning rates that were set, in order."""
        ask = "SELECT json_extract(detail, '$.to') FROM event WHERE kind = 'learning_rate'"
        return [rate for (rate,) in self.query(ask)]

    def said(self, message_type="comm_msg"):
        """List what came over iopub by now."""
        found = []
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0.01)
            except queue.Empty:
                return found
            if message["msg_type"] == message_type:
                found.append(message["content"])


@contextmanager
def kernel_on(folder):
    specs = KernelSpecManager(kernel_dirs=[])  # so "python3" is this interpreter
    kernel = Kernel(KernelManager(kernel_spec_manager=specs), folder / "promo.db", folder)
    try:
        yield kernel
    finally:
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(api, tmp_path):
    with kernel_on(tmp_path) as kernel:
        kernel.build(api)
        yield kernel


def rests(kernel):
    """Wait until no page comes any more, going by the status line; return the newest page."""
    wait_for(lambda: "running" not in kernel.run("", "controls.status.value"))
    return kernel.page()


def drive(kernel, subshell_id):
    """Press every button and move both sliders; check what each does."""
    kernel.click("play", subshell_id)
    wait_for(lambda: kernel.page() > 5)
    kernel.set("learning_rate", subshell_id, value=0.25)
    wait_for(lambda: kernel.rates() == [0.25])
    wait_for(lambda: kernel.run("", "controls.play.description") == "'Pause'")
    kernel.click("play", subshell_id)
    page = rests(kernel)
    assert "paused" in kernel.run("", "controls.status.value")
    for more in (1, 2, 3):
        kernel.click("step", subshell_id)
        wait_for(lambda: kernel.page() == page + more)  # noqa: B023
        assert rests(kernel) == page + more
    kernel.set("speed", subshell_id, index=4)  # 20 pages/s
    wait_for(lambda: kernel.run("", "controls.speed.value") == "20")
    kernel.click("stop", subshell_id)
    wait_for(lambda: kernel.kinds()[-1] == "stopped")
    assert kernel.page() == page + 3
    assert kernel.run("", "(publisher.errors, controls.problem)") == "([], '')"


def test_widgets_drive_the_trainer_on_the_main_shell(kernel):
    """Play, Pause, Step, Stop and both sliders work by messages to the main shell."""
    drive(kernel, None)


def test_widgets_drive_the_trainer_over_a_subshell(kernel):
    """The same over a subshell, as JupyterLab sends them."""
    drive(kernel, kernel.subshell())


def test_widgets_drive_the_trainer_while_a_cell_runs(kernel, tmp_path):
    """Over a subshell, Play, a rate, Pause and Step are obeyed though a cell is still running."""
    subshell_id, flag = kernel.subshell(), tmp_path / "go on"

    def ready(widget):  # ipykernel takes a message where the widget's last answer came from
        kernel.tell(widget, {"method": "request_state"}, subshell_id)

    for widget in WIDGETS:
        ready(widget)
    kernel.run("")
    busy = kernel.client.execute(
        f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)"
    )
    ready("play")  # a frame may have answered elsewhere since
    kernel.click("play", subshell_id)
    wait_for(lambda: kernel.page() > 5)
    ready("learning_rate")
    kernel.set("learning_rate", subshell_id, value=0.5)
    wait_for(lambda: kernel.rates() == [0.5])
    ready("stop")
    kernel.click("stop", subshell_id)
    wait_for(lambda: kernel.kinds()[-1] == "stopped")
    page = kernel.page()
    ready("step")
    kernel.click("step", subshell_id)
    wait_for(lambda: kernel.page() == page + 1)
    flag.touch()
    reply = wait_for(lambda: reply_to(kernel, busy))
    assert reply["content"]["status"] == "ok"
    assert rests(kernel) == page + 1
    assert kernel.rates() == [0.5]


CIRCLE = ("competence -> promoted", "promoted -> competence")


@pytest.mark.parametrize("over", ["main shell", "subshell"])
def test_the_switch_and_the_story_take_effect(kernel, over):
    """A toggle and check boxes are heard over either shell; figure, message and store say so."""
    subshell_id = kernel.subshell() if over == "subshell" else None
    kernel.meet(("write", *CIRCLE), subshell_id)
    kernel.click("step", subshell_id)
    wait_for(lambda: kernel.page() == 0)
    kernel.set("promoted", subshell_id, index=1)
    kernel.set("robust", subshell_id, value=True)
    kernel.set("anytime", subshell_id, value=False)
    wait_for(lambda: kernel.run("", "switch.choice") == "('with', False, True)")
    visible = partial(kernel.run, "", "[path.visible for path in slopes.paths.values()]")
    wait_for(lambda: visible() == "[False, True]")
    for arrow in CIRCLE:
        kernel.set(arrow, subshell_id, value=True)
    wait_for(lambda: "in a circle" in kernel.run("", "editor.message.value"))
    kernel.click("write", subshell_id)
    kernel.set(CIRCLE[1], subshell_id, value=False)
    wait_for(lambda: "in a circle" not in kernel.run("", "editor.message.value"))  # heard first
    kernel.click("write", subshell_id)
    wait_for(lambda: kernel.stories() == [[["competence", "promoted"]]])
    wait_for(lambda: "after 10 rows had been seen" in kernel.run("", "editor.message.value"))
    assert kernel.run("", "(publisher.errors, controls.problem)") == "([], '')"


def test_the_switch_and_the_story_take_effect_while_a_cell_runs(kernel, tmp_path):
    """Over a subshell the figure follows, and a story is written down, with a cell under way."""
    subshell_id, flag = kernel.subshell(), tmp_path / "go on"
    asked = ("promoted", "write", *CIRCLE)
    kernel.meet(asked, subshell_id)
    busy = kernel.client.execute(
        f"import os, time\nwhile not os.path.exists({str(flag)!r}): time.sleep(0.01)"
    )
    kernel.said()
    kernel.set("promoted", subshell_id, index=0)
    path = kernel.ids["path of network_ability ~ competence + promoted"]
    wait_for(
        lambda: [
            m for m in kernel.said()
            if m["comm_id"] == path and m["data"]["state"].get("visible") is False
        ]
    )  # fmt: skip
    kernel.set(CIRCLE[0], subshell_id, value=True)
    kernel.click("write", subshell_id)
    wait_for(lambda: kernel.stories() == [[["competence", "promoted"]]])
    flag.touch()
    reply = wait_for(lambda: reply_to(kernel, busy))
    assert reply["content"]["status"] == "ok"
    assert kernel.run("", "(publisher.errors, switch.choice)") == "([], ('without', True, False))"


def reply_to(kernel, message_id):
    reply = kernel.client.get_shell_msg(timeout=DEADLINE_S)
    return reply if reply["parent_header"].get("msg_id") == message_id else None


def test_a_click_during_a_cell_on_the_main_shell_waits_for_its_end(kernel):
    """On the main shell a click comes after the cell, and is not lost."""
    kernel.client.execute("import time; time.sleep(0.5)")
    kernel.click("step")
    wait_for(lambda: kernel.page() == 0)
    assert rests(kernel) == 0


def test_the_browser_is_told(kernel):
    """While pages come, status and arrays go out as widget messages, and nothing is printed."""
    kernel.said()
    kernel.click("step")
    updates = []

    def status():
        updates.extend(m for m in kernel.said() if m["comm_id"] == kernel.ids["status"])
        return any("page 1 of" in m["data"]["state"]["value"] for m in updates)

    wait_for(status)
    assert kernel.said("stream") == []


def test_a_killed_kernel_leaves_a_store_that_goes_on(api, tmp_path):
    """After SIGKILL in the middle of a run, a new kernel goes on at the next page, once each."""
    with kernel_on(tmp_path) as kernel:
        kernel.build(api)
        kernel.run("trainer.set_speed(None)")
        kernel.click("play")
        wait_for(lambda: kernel.page() > 20)
        kernel.manager.shutdown_kernel(now=True)
    page = kernel.page()
    with kernel_on(tmp_path) as kernel:
        kernel.build(api)
        assert kernel.run("", "trainer.snapshot.page") == str(page)
        kernel.click("step")
        wait_for(lambda: kernel.page() == page + 1)
        rests(kernel)
    with open_trainer(tmp_path / "promo.db", api.url, api.source) as trainer:
        assert trainer.run(1).rows == 10 * (page + 3)
        assert trainer.store.query("SELECT count(*) FROM page") == [(page + 3,)]
        found = [state.state for model in trainer.models for state in model.states()]
    with open_trainer(tmp_path / "clean.db", api.url, api.source) as clean:
        clean.run(page + 3)
        assert [state.state for model in clean.models for state in model.states()] == found


def test_an_outage_is_counted_down_until_stop(tmp_path):
    """The status line says what is wrong and how long it waits, less each time; Stop ends that."""
    data = tmp_path / "data.db"
    with (
        EmbeddedAPI(rows=50, data=data, port=0, faults="3:429*9999") as api,
        kernel_on(tmp_path) as kernel,
    ):
        kernel.build(api)
        line = partial(kernel.run, "", "controls.status.value")
        left = r"429 Too Many Requests; attempt \d+ in (\d+) s"
        kernel.click("play")
        wait_for(lambda: "retrying" in line())
        wait_for(lambda: int(wait_for(lambda: re.search(left, line()))[1]) > 1)
        wait_for(lambda: int(wait_for(lambda: re.search(left, line()))[1]) <= 1)
        kernel.click("stop")
        wait_for(lambda: ">stopped<" in line())
        assert (kernel.page(), kernel.kinds()[-1]) == (2, "stopped")
        assert kernel.run("", "(publisher.errors, controls.problem)") == "([], '')"


def test_of_two_notebooks_on_one_store_the_second_is_told(api, tmp_path):
    """Its cell ends in one sentence that names the first's process; that killed, it works."""
    with kernel_on(tmp_path) as first, kernel_on(tmp_path) as second:
        first.build(api)
        first.click("play")
        wait_for(lambda: first.page() > 5)
        code = BUILD.format(url=api.url, source=api.source, path=str(second.path))
        said = second.client.execute_interactive(
            code, timeout=DEADLINE_S, output_hook=lambda _: None
        )["content"]
        holder = first.manager.provisioner.pid
        told = f"{second.path} is being written by process {holder}: stop that first"
        assert (said["status"], said["ename"], said["evalue"]) == ("error", "StoreLocked", told)
        page = first.page()
        wait_for(lambda: first.page() > page)  # undisturbed
        first.manager.shutdown_kernel(now=True)
        page = second.page()
        second.build(api)
        second.click("step")
        wait_for(lambda: second.page() == page + 1)


def test_running_the_live_cells_again_needs_no_restart(api, tmp_path):
    """The cell that closes and builds can run again and again; the newest widgets steer."""
    with kernel_on(tmp_path) as kernel:
        kernel.build(api)
        for _ in range(3):
            page = kernel.page()
            kernel.run("ui.close_all()")
            kernel.build(api)
            kernel.click("step")
            wait_for(lambda: kernel.page() == page + 1)  # noqa: B023
        widgets = kernel.run("import ipywidgets", "len(ipywidgets.widgets.widget._instances)")
        kernel.run("ui.close_all()")
        left = kernel.run("", "len(ipywidgets.widgets.widget._instances)")
    assert int(widgets) > 0
    assert left == "0"


def test_frames_follow_the_browsers_answers(api, tmp_path):
    """Over the kernel's wire: without an answer frames go on, a hidden page gets none, no stop."""
    with kernel_on(tmp_path) as kernel:
        kernel.build(api)
        frame = partial(kernel.run, "", "publisher.frames.frame")
        kernel.click("play")
        for state, low, high in ((None, 3, 8), (False, 0, 1), (True, 5, 17)):
            if state is not None:
                kernel.set("frames", painted=int(frame()), visible=state)
            before, page = int(frame()), kernel.page()
            time.sleep(1.2)
            assert low <= int(frame()) - before <= high, state
            wait_for(lambda: kernel.page() > page + 10)  # noqa: B023
        time.sleep(3.0)
        assert int(frame()) - before <= 32 + 5  # no more than are on their way, and one a second
        wait_for(lambda: kernel.page() > page + 20)
