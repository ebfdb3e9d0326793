"""What computes with torch, one small step of each on a device of one's choice.

`steps.STEPS` has them by name; `ON_THE_CPU` says why the others have none.
"""

ON_THE_CPU = {
    "baselines/majority": "scikit-learn",
    "baselines/nearest-mean": "scikit-learn",
    "baselines/logistic": "scikit-learn",
    "baselines/linear-svm": "scikit-learn",
    "baselines/mlp": "a small perceptron, faster there",
    "front end/prosody": "WORLD",
    "front end/egemaps": "openSMILE",
    "front end/moonshine": "onnxruntime",
}
