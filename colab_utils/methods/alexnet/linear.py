"""The strongest dull row: convolutions as they are, and a linear classifier on what they see."""

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from colab_utils.methods.alexnet.training import AlexnetLearner, answers

C = 0.1  # inverse strength of the L2 penalty: that of notebook 01's logistic regression
_NEVER = -1e4  # logit of a class without training segments


class LinearLearner(AlexnetLearner):
    """Logistic regression on frozen convolutions, for `training.train`: one step.

    A segment is v, the mean of the last map over the places of speech, and

        P(y | segment) = softmax(W (v - m) / s + b)

    with the mean m and deviation s of the training segments. W and the mean over places commute, so
    that this is an `alexnet_gap` whose last layer has the weights W / s and the bias b - W m / s.
    Segments count by their share of speech, as in the decision, and with `balanced` classes are
    weighted to equal mass.

    Args:
        *of_network: as of `AlexnetLearner`.
        **others: as of `AlexnetLearner`.
    """

    def __init__(self, *of_network: Any, **others: Any):
        super().__init__(*of_network, **others)
        self.steps = self.steps_per_epoch = 1

    @torch.no_grad()
    def step(self, i: int) -> dict[str, float]:
        """Fit the last layer; the loss is the mean cross-entropy of the training segments."""
        train, y = self.pictures.train, self.fold.y
        self.module.eval()
        v = answers(self.module.pooled, train).cpu().double().numpy()
        scaler = StandardScaler().fit(v)
        balance = "balanced" if self.config.balanced else None
        model = LogisticRegression(C=C, class_weight=balance, tol=1e-8, max_iter=10_000)
        share = train.valid.cpu().numpy()
        model.fit(scaler.transform(v), y, sample_weight=share)
        weights, bias = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # one logit, of the second class
            weights = np.stack([0 * weights[0], weights[0]])
            bias = np.append(0, bias)
        weights = weights / scaler.scale_
        bias = bias - weights @ scaler.mean_
        head = self.module.head
        head.weight.zero_()
        head.bias.fill_(_NEVER)
        head.weight[model.classes_, :, 0, 0] = torch.from_numpy(weights).to(head.weight)
        head.bias[model.classes_] = torch.from_numpy(bias).to(head.bias)
        log_p = model.predict_log_proba(scaler.transform(v))
        of_class = np.searchsorted(model.classes_, y)
        return {"loss": -float(log_p[np.arange(len(y)), of_class].mean())}
