"""How long a notebook's cells say nothing: read from the messages that its kernel sends."""

import pathlib
import time

import nbformat
import psutil
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

SAYS_NOTHING = {"status", "execute_input"}  # sent by the kernel of itself


class Listener(NotebookClient):
    """Executes a notebook and notes the longest silence in each cell, `silent` {cell id: seconds}.

    A silence is what lies between the begin of a cell, the messages by which it shows something
    (text, pictures, changes of a widget) and its end. It is measured on the wall and in processor
    time of the kernel and its children, and the smaller counts: on a loaded machine the wall says
    how busy the others are.
    """

    def __init__(self, notebook: nbformat.NotebookNode, **settings):
        super().__init__(notebook, kernel_name="python3", timeout=None, **settings)
        self.silent: dict[str, float] = {}
        self.last = (0.0, 0.0)
        self.on_cell_execute = lambda cell, cell_index: self._heard()
        self.on_cell_executed = lambda cell, cell_index, execute_reply: self._note(cell)

    def process_message(self, msg, cell, cell_index):
        """Note the time of a message, then do with it what is always done."""
        if msg["msg_type"] not in SAYS_NOTHING:
            self._note(cell)
        return super().process_message(msg, cell, cell_index)

    def _now(self) -> tuple[float, float]:
        kernel = psutil.Process(self.km.provisioner.pid)
        used = 0.0
        for process in (kernel, *kernel.children(recursive=True)):
            try:
                used += sum(process.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
        return time.monotonic(), used

    def _heard(self) -> None:
        self.last = self._now()

    def _note(self, cell) -> None:
        before = self.last
        self._heard()
        silence = min(now - then for now, then in zip(self.last, before, strict=True))
        self.silent[cell.id] = max(silence, self.silent.get(cell.id, 0.0))


def listen(path: pathlib.Path, folder: pathlib.Path, **parameters) -> tuple[dict, list]:
    """Execute the notebook `path` in `folder`; returns its silences and its executed cells.

    parameters: other values for the notebook's own.
    """
    notebook = parameterize_notebook(load_notebook_node(str(path)), parameters)
    client = Listener(notebook, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return client.silent, notebook.cells
