"""The dashboard as a web page: Voila, one kernel a visitor, and nothing from the internet.

`promo app` starts it. A visitor needs the token; kernels end with their visitors, and with a
kernel ends all that it has started.
"""

from __future__ import annotations

import socket
import tempfile
import webbrowser
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from traitlets import default
from voila.app import Voila

GONE_S = 120  # without a connection: a reload takes a second, a bad line a minute
LOOK_S = 10


class VisitorKernels(AsyncMappingKernelManager):
    """Kernels of which each has a visitor, and ends when that one has been gone for a while.

    A page that is closed says so, and its kernel ends at once. This is for those that cannot: of a
    browser that was killed, or behind a line that is down. But for the cells that make the page,
    what a kernel sends is no sign of a visitor: a stream that plays goes on sending to nobody.
    """

    @default("cull_idle_timeout")
    def _default_cull_idle_timeout(self) -> int:
        return GONE_S

    @default("cull_interval")
    def _default_cull_interval(self) -> int:
        return LOOK_S

    def track_message_type(self, message_type: str) -> bool:
        """Say whether a message is a sign of a visitor: that a cell begins to run."""
        return message_type == "execute_input"

    def notify_disconnect(self, kernel_id: str) -> None:
        """Count from the moment when the visitor left."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        if kernel_id in self:
            self._kernels[kernel_id].last_activity = datetime.now(UTC)


class App(Voila):  # type: ignore[misc]  # voila has no types
    """Voila with our page, our kernels, and a token that its own browser is told."""

    def setup_template_dirs(self) -> None:
        """Put our page before Voila's, and let it say that it is closed."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(Path(__file__).parent))
        self.voila_configuration.prelaunch_hook = _let_say_goodbye

    @default("tornado_settings")
    def _default_tornado_settings(self) -> dict[str, Any]:
        # As Lab does: a page elsewhere whose name leads to this machine is not let in.
        return {"allow_remote_access": not is_local(self.ip)}

    def start(self) -> None:
        """Serve until interrupted; say where, once it answers."""
        IOLoop.current().add_callback(self._announce)
        super().start()

    def _announce(self) -> None:
        print(f"promo: the dashboard is at {self.display_url}", flush=True)

    def launch_browser(self) -> None:
        """Open the page with its token, which no other user can see in the list of processes."""
        handle, path = tempfile.mkstemp(prefix="promo-", suffix=".html")  # for our eyes only
        with open(handle, "w") as page:
            page.write(f'<meta http-equiv="refresh" content="0;url={self.display_url}">')
        webbrowser.open(Path(path).as_uri())


def _let_say_goodbye(handler: JupyterHandler, **_: object) -> None:
    """Give the page the cookie without which what it says as it is closed would be refused."""
    handler.xsrf_token  # noqa: B018  # asking for it sets the cookie


def serve(
    notebook: Path, *, host: str, port: int, browser: bool, token: bool, theme: str = "light"
) -> None:
    """Serve a notebook as a page until interrupted.

    Parameters
    ----------
    notebook
        Every visitor runs it from top to bottom, in a kernel of their own.
    host, port
        Where to listen; the next free port if that one is taken, any for 0.
    browser
        Open it.
    token
        Ask for one. Without, whoever reaches the port may come in.
    theme
        ``"light"`` or ``"dark"``; ``?theme=dark`` in the address goes before it.
    """
    if not port:  # which Voila would not be told
        with socket.create_server((host, 0)) as free:
            port = free.getsockname()[1]
    options: dict[str, Any] = {
        "Voila.ip": host,
        "Voila.port": port,
        "Voila.open_browser": browser,
        "Voila.auto_token": token,
        "Voila.log_level": "WARN",
        "VoilaConfiguration.theme": theme,
        "VoilaConfiguration.multi_kernel_manager_class": f"{__name__}.{VisitorKernels.__name__}",
    }
    App.launch_instance([str(notebook), *(f"--{name}={value}" for name, value in options.items())])


def is_local(host: str) -> bool:
    """Return whether an address is of this machine only.

    Examples
    --------
    >>> [is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
