"""Tests of what views have in common."""

import pytest
from ipywidgets.widgets.widget import _instances as registry

from comms import Comm, left_open, open_widgets
from promo import ui
from promo.ui.common import check_box, html, is_common, sheet

pytestmark = pytest.mark.usefixtures("comms")


def test_a_text_or_a_check_box_is_one_widget():
    """The first of a kind opens layout and style with it, all others nothing but themselves."""
    html("one"), check_box("one")
    Comm.sent.clear()
    texts = [html(f"{number}") for number in range(5)]
    boxes = [check_box(f"{number}", number > 2) for number in range(5)]
    assert [kind for _, kind, *_ in Comm.sent] == 10 * ["comm_open"]
    assert [text.value for text in texts] == [*"01234"]
    assert [(box.description, box.value) for box in boxes[2:4]] == [("2", False), ("3", True)]
    assert all(is_common(part) for each in texts + boxes for part in (each.layout, each.style))
    assert not any(map(is_common, texts + boxes))


def test_what_one_view_closes_another_still_has():
    """Closing views leaves nothing open but what they have in common, and that to the others."""
    before = open_widgets()
    views = [ui.SelectionFigure(), ui.DoFigure(), ui.PeekingFigure()]
    publishers = [ui.Publisher(None, [view]) for view in views]
    for publisher in publishers[1:]:
        publisher.close()
    first, *others = views[0].widget.children
    assert is_common(first)
    assert not any(map(is_common, others))
    assert all(part.comm for each in (first, *others) for part in (each, each.layout))
    assert all(each.style.comm for each in others if hasattr(each, "style"))
    publishers[0].close()
    assert open_widgets() == before
    assert not left_open()
    assert sheet().comm


def still_open():
    """Return those widgets of this test that are open."""
    opened = [name for name, kind, *_ in Comm.sent if kind == "comm_open"]
    return [registry[name] for name in opened if name in registry]


def close_each():
    """Close one widget after another, as `Widget.close_all` does."""
    for widget in still_open():
        widget.close()


@pytest.mark.parametrize("close", [close_each, ui.close_all, ui.close_views])
def test_a_reader_may_close_all(close):
    """Then nothing is open at all, and the next views have what they need, anew."""
    publisher = ui.Publisher(None, [ui.SelectionFigure()])
    assert is_common(publisher.views[0].widget.children[0])
    close()
    assert not still_open()
    publisher.close()
    for each in (html("new"), check_box("new"), sheet()):
        assert each.layout.comm
        assert each.style.comm
