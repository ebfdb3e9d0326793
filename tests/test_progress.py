"""Progress bars: what they are called is text, also where they are widgets; who is told of them."""

import io
import time

import tqdm
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


def test_a_listener_is_told_of_each_bar_and_nothing_is_printed(capfd):
    told = []
    with progress.told_to(told.append):
        for _ in progress.bar(range(3), desc="draws", mininterval=0):
            pass
    bars = [bar for bar in told if bar is not None]
    assert sorted({bar["n"] for bar in bars}) == [0, 1, 2, 3] and told[-1] is None
    assert {(bar["total"], bar["prefix"]) for bar in bars} == {(3, "draws")}
    assert capfd.readouterr() == ("", "")
    told.clear()
    list(progress.bar(range(3)))
    assert told == [], "afterwards bars are drawn as ever"


def test_a_bar_ticks_while_a_step_takes_long_and_no_longer_than_it_lives(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.05)
    drawn = io.StringIO()
    monkeypatch.setattr(progress, "fitting_tqdm", tqdm.tqdm)
    with progress.bar(total=2, file=drawn, mininterval=100):
        time.sleep(0.5)
    times = drawn.getvalue().count("0/2")
    assert times >= 4, "once at its beginning, then by the clock"
    length = len(drawn.getvalue())
    time.sleep(0.15)
    assert len(drawn.getvalue()) == length
    hidden = progress.bar(total=2, disable=True)
    assert "close" not in vars(hidden), "one that is not shown has no clock"
