"""Progress bars: what they are called is text, also where they are widgets."""

import tqdm.notebook

from colab_utils import progress


def test_a_tag_in_the_name_of_a_fold_is_never_html(monkeypatch):
    """A widget shows the description of its beginning as it is given, before any update."""
    values = []

    class Recorded(tqdm.notebook.HTML):
        def __setattr__(self, name, value):
            values.append(value if name == "value" else "")
            super().__setattr__(name, value)

    monkeypatch.setattr(tqdm.notebook, "HTML", Recorded)
    monkeypatch.setattr(progress, "fitting_tqdm", tqdm.notebook.tqdm)
    for _ in progress.bar(range(2), desc="fold own/<hostile>"):
        pass
    shown = "".join(values)
    assert "fold\u2007own/&lt;hostile&gt;" in shown and "<hostile>" not in shown
