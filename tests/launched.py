"""`promo lab` and `promo app` as child processes, for tests."""

import http.client
import json
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import psutil

from clocks import wait_for
from tools.launch import APP, LAB, LAB_ADDRESS, launched

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
APP_ADDRESS = r"the dashboard is at (http://127\.0\.0\.1:\d+/(?:\?token=(\w+))?)"


class Launched:
    """A child process with a home and data of its own, and where it listens."""

    def __init__(self, folder, process, url, token):
        self.process, self.url, self.token = process, url, token
        self.data = folder / "data"

    def ask(self, path, method="GET", body=None, **headers):
        """Return status and body of an answer; no redirection is followed."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def family(self):
        """List the process and all that it has started."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def kernels(self):
        """List the kernels that run, as processes."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):  # short of life, as those that ask for a version
                if "ipykernel_launcher" in process.cmdline():
                    found.append(process)
        return found

    def listening(self):
        """List the addresses on which any of them listens."""
        found = []
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                found += process.net_connections("inet")
        return [each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN]


class Lab(Launched):
    """`promo lab`, on copies of the notebooks without their outputs."""

    def __init__(self, folder, process, url, token):
        super().__init__(folder, process, url, token)
        notebooks = sorted((folder / "notebooks").glob("*.ipynb"))
        self.notebook, self.laboratory, self.chapter, self.dashboard, self.many = notebooks

    def ask(self, path, token=None, data=None):
        """Return status and JSON of an answer of Lab's own API."""
        headers = {"Authorization": f"token {token}"} if token else {}
        status, text = super().ask(path, "POST" if data else "GET", data, **headers)
        return status, json.loads(text) if status < 300 else None

    def query(self, sql, notebook="01-analysis"):
        """Ask a notebook's store."""
        path = self.data / f"{notebook}.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def stored_page(self):
        """Newest page in the store, -1 if there is none."""
        return self.query("SELECT coalesce(max(page), -1) FROM page")[0][0]


def write_notebook(path, code):
    """Write a notebook of one cell."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@contextmanager
def running_lab(folder):
    """Run `promo lab` in a folder, on copies of the notebooks."""
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    for path in (folder / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        nbformat.write(notebook, path)
    with launched(folder, *LAB, address=LAB_ADDRESS) as (process, found):
        lab = Lab(folder, process, found[0], found[2])
        wait_for(lambda: answers(lab))  # the address is printed a moment before
        yield lab


def answers(lab):
    """Tell whether somebody listens."""
    with suppress(ConnectionError):
        return lab.ask("/api")[0] == 200


@contextmanager
def running_app(folder, *options):
    """Run `promo app` in a folder."""
    with launched(folder, *APP, *options, address=APP_ADDRESS) as (process, found):
        yield Launched(folder, process, found[1], found[2])
