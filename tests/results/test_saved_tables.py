"""Tables of a download as pandas reads them."""

import pandas as pd
from finished_run import finished
from toy_predictions import predictions

from colab_utils.results.runs import metrics_table
from colab_utils.results.tables import save_table


def test_differences_are_numbers_and_each_column_has_a_name(tmp_path):
    table = pd.DataFrame(
        {"difference": ["+1.2", "", "-0.3"], "its 95 % interval": ["+0.1 to +2.3", "", "none"]},
        index=["a", "03", "-c"],
    )
    saved = pd.read_csv(save_table(table, tmp_path / "table")[0], dtype={"run": str})
    assert saved.columns.tolist() == ["run", "difference", "its 95 % interval"]
    assert saved["difference"].tolist()[::2] == [1.2, -0.3] and saved["difference"].isna()[1]
    assert saved["its 95 % interval"][0] == "'+0.1 to +2.3", "guarded from spreadsheets"
    cells = (tmp_path / "table.tex").read_text().splitlines()[7].split(" & ")
    assert cells[:2] == ["-c", "$-$0.3"], "a minus, and a name as it is"
    assert saved["run"].tolist() == ["a", "03", "'-c"]


def test_utterances_are_not_predictions(tmp_path):
    run = finished(tmp_path, table=predictions(n=60, draws=3))
    assert run.metrics["n"] == 180
    assert metrics_table({"one": run}).at["one", "utterances"] == 60
