"""Few-Shot_SER as published: its settings, and what had to be repaired in it.

Source: github.com/lucashueda/Few-Shot_SER (2021), the scripts `src/bin/train_*`.
"""

# The settings of the scripts `train_maml_*`; ways, shots, queries and steps as in most of them.
_PAPER = {
    "regime": "permuted",
    "network": "conv4",
    "norm": "paper-batch",
    "order": "first",
    "multi_step": "final",
    "steps": 5,
    "inner_rate": 0.01,
    "learn_rates": False,
    "ways": 5,
    "shots": 5,
    "queries": 20,
    "meta_batch": 4,
    "meta_rate": 1e-3,
    "schedule": "constant",
    "clip": 0.0,
    "within": "all",
    "iterations": 2000,
    "validate_every": 50,
    "patience": 1000,
}
_MULTI_STEP = {"multi_step": "ramp", "steps": 8, "inner_rate": 0.05}
_CONTRASTIVE = {
    "contrastive": "nt-xent",
    "contrastive_weight": 1.0,
    "temperature": 0.07,
    "projection": 0,
}
_SECOND_ORDER = {"order": "second", "steps": 8, "inner_rate": 1e-3, "shots": 25, "queries": 25}

PRESETS = {
    "paper": _PAPER,
    "paper-msl": _PAPER | _MULTI_STEP,
    "paper-contrastive": _PAPER | _CONTRASTIVE,
    "paper-second-order": _PAPER | _SECOND_ORDER,
}

REPAIRS = (
    "every clip of a class can be drawn; the original drew only the first `smallest class` clips "
    "of each",
    "speakers (films on EmoFilm) never stand in support and query, nor in training and test; the "
    "original had no grouping",
    "held-out speakers or films of the training languages pick the checkpoint; the original kept "
    "the lowest training loss of one meta-batch",
    "padded frames are masked; the original filled them with -3 or -1, a loudness like any other "
    "in its MFCC",
    "of a long clip training hears random crops and the test the middle; the original heard the "
    "first 0.8 to 2.3 s",
    "the log-mel range is [-4, 4] as intended; a misspelt argument made it [0, 4]",
    "every weighted step of the multi-step loss has a gradient; the original computed steps 0 and "
    "1 without one",
    "each task counts once; the second-order script weighted task j (B - j + 1) times",
    "the contrastive term stands in the inner loss of test episodes as well; the original left it "
    "out there",
    "a meta-batch holds 4 episodes; the original's constant of 16 was not the meta-batch, which "
    "was 2 or 4",
    "batch statistics of the query make a result transductive, and every result says so",
)
