"""What a network sees of spectrograms, and where it looks."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from colab_utils.display import captions, style
from colab_utils.features.published.alexnet import HOP, MELS, RATE, SEGMENT, AlexNetSpectrogram
from colab_utils.methods.alexnet.network import valid_columns
from colab_utils.methods.alexnet.pictures import Images
from colab_utils.methods.alexnet.training import AlexnetLearner, probabilities

MOST = 4  # pictures side by side
SECONDS = SEGMENT * HOP / RATE
_SMALL = 6.5  # points
_SEEN = (
    "Upper row: the picture the network gets, each band scaled by the training utterances. "
    "Dashed: where the speech ends and padding begins."
)
_LOOKED_AT = (
    "Lower row: bright where a place speaks for the predicted emotion (class activation map)."
)


@torch.no_grad()
def views_figure(
    learner: AlexnetLearner, images: Images, rows: pd.DataFrame, labels: Sequence[str]
) -> style.SuiteFigure:
    """The first segment of each utterance, and below it what speaks for the predicted emotion.

    Args:
        learner: trained.
        images: the pictures of up to `MOST` utterances.
        rows: their manifest rows.
        labels: the emotions, in the order of the class ids.
    """
    module, config = learner.module, learner.config
    firsts = np.unique(images.utterance.cpu(), return_index=True)[1]
    values, valid = images.values[firsts].float(), images.valid[firsts]
    best = probabilities(module, images)[firsts].argmax(dim=1).tolist()
    looked = hasattr(module, "activation_map")
    if looked:
        maps = module.activation_map(values)
        if config.pooling == "speech":
            speech = valid_columns(valid, maps.shape[3])
            maps = maps.masked_fill(~speech[:, None, None], torch.nan)
        maps = maps.cpu()
    pictures = values[:, 0].cpu()
    spec = AlexNetSpectrogram(feature_set=config.features)
    of_mel = spec.bins == MELS
    highest = 8 if of_mel else 4  # kHz
    look = {"extent": (0, SECONDS, 0, highest), "aspect": "auto"}
    with style.suite_style():
        width = style.TWO_COLUMNS if len(rows) > 2 else style.WIDE_COLUMN
        figure = style.new_figure(width, 3.2 if looked else 1.8)
        panels = figure.subplots(1 + looked, len(rows), squeeze=False, sharex="col")
        for number, row in enumerate(rows.itertuples()):
            column = panels[:, number]
            column[0].imshow(pictures[number], cmap="magma", **look)
            if looked:
                column[1].imshow(pictures[number], cmap="gray", **look)
                column[1].imshow(maps[number, best[number]], cmap="viridis", alpha=0.55, **look)
            predicted = labels[best[number]]
            right = "" if predicted == row.emotion else " (wrong)"
            name = captions.wrap(row.utt_id, width / len(rows) - 0.3, _SMALL)
            above = [*name, row.emotion, f"taken for {predicted}{right}"]
            column[0].set_title("\n".join(above), fontsize=_SMALL)
            column[-1].set_xlabel("Time (s)")
            for axes in column:
                axes.axvline(SECONDS * float(valid[number]), color="white", lw=0.8, ls="--")
                if of_mel:
                    axes.set_yticks([0, highest])
        for axes in panels[:, 0]:
            axes.set_ylabel("Mel band (kHz at the edges)" if of_mel else "Frequency (kHz)")
        style.above(figure, f"What {config.ser_model} sees, and where it looks")
        synthetic = rows["corpus"].str.startswith("synthetic").any()
        marks = ["Synthetic corpus: not a result on speech."] if synthetic else []
        style.caption_below(figure, [_SEEN, _LOOKED_AT][: 1 + looked], marks)
    return figure
