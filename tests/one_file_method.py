"""A method of one file against the contract: softmax regression by gradient steps."""

import dataclasses

import torch

from colab_utils.learning.recipe import StudySettings
from colab_utils.learning.study import Study, Training
from colab_utils.learning.training import ModuleLearner
from colab_utils.settings import RESULT, setting


@dataclasses.dataclass(frozen=True)
class SoftmaxConfig(StudySettings):
    PRESETS = {"default": {}, "slow": {"rate": 0.01}}
    rate: float = setting(0.1, "learning rate", low=1e-4, high=10.0)
    steps: int = setting(20, "updates", low=1, high=1000, step=1)
    seed: int = setting(0, "first seed", low=0, high=1000, step=1, task=True)
    n_seeds: int = setting(1, "seeds", low=1, high=20, step=1, scope=RESULT, task=True)


class SoftmaxLearner(ModuleLearner):
    def __init__(self, x, y, valid, n_labels, config, loss):
        torch.manual_seed(config.seed)
        self.x, self.y, self.valid, self.loss = x, y, valid, loss
        self.module = torch.nn.Linear(x.shape[1], n_labels)
        self.optimiser = torch.optim.SGD(self.module.parameters(), lr=config.rate)

    def step(self, i):
        loss = self.loss(self.module(self.x), self.y)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item()}

    def validate(self):
        return float((self.module(self.valid[0]).argmax(1) == self.valid[1]).float().mean())


class SoftmaxStudy(Study):
    method, small = "softmax", True

    def learner(self, tested, fold):
        (x, y), valid = (self.data(tested, fold, role) for role in ("train", "valid"))
        loss = tested.own or torch.nn.functional.cross_entropy
        learner = SoftmaxLearner(x, y, valid, len(self.labels), tested.config, loss)
        return Training(learner, tested.config.steps, every=5)

    def predict(self, learner, tested, fold):
        with torch.no_grad():
            scores = torch.softmax(learner.module(self.data(tested, fold, "test")[0]).double(), 1)
        return self.predictions(tested, fold, self.part(tested, fold, "test"), scores.numpy())

    def data(self, tested, fold, role):
        rows = self.part(tested, fold, role)
        x = self.features_for(tested, pooled=True).matrix(rows["utt_id"])
        return torch.from_numpy(x), torch.from_numpy(self.classes(rows))
