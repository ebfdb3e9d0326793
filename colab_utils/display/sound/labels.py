"""Labels of recordings as a page: what was said when, with players, the least certain marked."""

import os
from collections.abc import Mapping, Sequence

import jinja2
import numpy as np
import pandas as pd

from colab_utils.display.hear import RATE, player_html
from colab_utils.display.sound.timeline import clock
from colab_utils.display.style import WARN

MOST_ROWS = 20  # with players: each takes 43 kB a second
_PAGE = jinja2.Template(
    """
{% set cell = "padding:.3em .7em;text-align:left;border-bottom:1px solid rgba(128,128,128,.3)" %}
<p>{{ told[0] }}</p>
{% for figure in figures %}<p>{{ figure|safe }}</p>{% endfor %}
{% if rows|length < number %}
<p>Of {{ "{:,}".format(number) }} windows the {{ rows|length }} that are least and most certain:</p>
{% endif %}
{% if rows %}<table style="border-collapse:collapse"><thead><tr>
{% for head in ["recording", "from", "to", "emotion", "probability", "then", "listen"] %}
<th scope="col" style="{{ cell }}">{{ head }}</th>
{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr>
<td style="{{ cell }}">{{ row.file }}</td>
<td style="{{ cell }}">{{ row.start }}</td>
<td style="{{ cell }}">{{ row.end }}</td>
<td style="{{ cell }}">{% if row.emotion %}<b>{{ row.emotion }}</b>{% else %}no signal{% endif %}
{%- if row.uncertain %} <span style="color:{{ warn }}">uncertain</span>{% endif %}</td>
<td style="{{ cell }}">{{ row.probability }}</td>
<td style="{{ cell }}">{{ row.second }}</td>
<td style="{{ cell }}">{{ row.player|safe }}</td>
</tr>{% endfor %}</tbody></table>{% endif %}
<ul>{% for line in told[1:] %}<li>{{ line }}</li>{% endfor %}</ul>
""",
    autoescape=True,
)


def shown_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows to show with players: all, or of many the least certain and the most certain.

    Args:
        table: of `label.Labelled`.

    Returns:
        MOST_ROWS rows at most, in the order of the table.
    """
    if len(table) <= MOST_ROWS:
        return table
    order = table.filter(regex="^p_").max(axis=1).sort_values(kind="stable", na_position="first")
    ends = [*order.index[: MOST_ROWS // 2], *order.index[-MOST_ROWS // 2 :]]
    return table.loc[sorted(ends)]


def labels_html(
    told: Sequence[str],
    figures: Sequence[str],
    rows: pd.DataFrame,
    number: int,
    sounds: Mapping[int, np.ndarray],
) -> str:
    """The page.

    Args:
        told: what was labelled in a sentence, then what was skipped, and notes.
        figures: HTML.
        rows: of `shown_rows`.
        number: of all rows.
        sounds: mono at `hear.RATE`, by the index of `rows`.

    Returns:
        HTML.
    """
    names = _names(rows["file"])
    shown = []
    for place, row in rows.iterrows():
        name = names[row["file"]]
        ranked = row.filter(regex="^p_").astype(float).dropna().sort_values(ascending=False)
        ranked.index = ranked.index.str.removeprefix("p_")
        told_of = [f"{name} {100 * value:.0f}\u00a0%" for name, value in ranked.head(2).items()]
        shown.append(
            {
                "file": name,
                "start": clock(row["start"]),
                "end": clock(row["end"]),
                "emotion": row["emotion"],
                "uncertain": row["uncertain"],
                "probability": told_of[0].removeprefix(f"{row['emotion']} ") if told_of else "",
                "second": told_of[1] if len(told_of) > 1 else "",
                "player": player_html(
                    sounds[place], RATE, f"{names[row['file']]} {row['emotion']}"
                ),
            }
        )
    return _PAGE.render(told=told, figures=figures, rows=shown, number=number, warn=WARN)


def _names(paths: pd.Series) -> dict[str, str]:
    """What files are called without their folders, where that tells them apart."""
    found = {path: os.path.basename(path) for path in paths}
    if len(set(found.values())) < len(found):
        return {path: path for path in found}
    return found
