"""A finished run as a study leaves it, made of predictions that are drawn."""

from toy_predictions import LABELS, predictions

from colab_utils.features import front_end
from colab_utils.features.front_end import identity
from colab_utils.methods.baselines.settings import BaselineConfig
from colab_utils.results.runs import open_run
from colab_utils.results.tables import SETTINGS, settings_table
from colab_utils.settings import looked_at

BOTH = {
    "name": "acoustic+moonshine",
    "settings": {},
    "parts": [identity(front_end("acoustic")), identity(front_end("moonshine"))],
}


def finished(root, name="emodb-logistic", right=0.5, *, settings=None, table=None, **facts):
    """A finished run on EmoDB: 120 utterances by 12 speakers, or those of `table`."""
    table = predictions(right=right) if table is None else table
    split = table[["seed", "fold", "draw", "task", "utt_id"]].assign(
        speaker="emodb/" + table["speaker"], role="test"
    )
    about = {
        "preset": "default",
        "corpora": {"test": ["emodb"], "train": ["savee"]},
        "merge": {"boredom": None, "excited": "happiness"},
        "changed": {"C": 0.1},
        "feature_spec": BOTH,
    }
    config = BaselineConfig(**{"C": right, **(settings or {})})
    run = open_run(root, "baselines", name, config, about | facts, split)
    run.finish(table, LABELS, speaker_independence="independent")
    run.keep(SETTINGS, [settings_table(config, looked_at(config))])
    (run.path / "parts").mkdir()
    (run.path / "parts" / "0.csv").write_text("a part")
    run.mark_done()
    return run
