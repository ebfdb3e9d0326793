"""Installs `colab_utils` and, with it, the corpus manifests as `colab_utils.data_manifests`."""

import pathlib

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "colab_utils/__init__.py").read_text().splitlines()
    if line.startswith("__version__")
)

# Lower bounds only: an upper bound would make pip downgrade what a Colab runtime ships (torch alone
# is several GB).
REQUIRES = [
    "torch>=2.4",
    "torchaudio>=2.4",
    "torchvision>=0.19",
    "higher>=0.2.1",
    "pytorch-metric-learning>=2.5",
    "pyworld-prebuilt>=0.3.5",
    "librosa>=0.10",
    "soundfile>=0.12",
    "soxr>=0.3",
    "numpy>=1.26",
    "pandas>=2.1",
    "openpyxl>=3.1",
    "scipy>=1.11",
    "scikit-learn>=1.4",
    "threadpoolctl>=3",
    "matplotlib>=3.8",
    "seaborn>=0.13",
    "ipywidgets>=7.7",
    "ipython>=7.34",
    "tqdm>=4.66",
    "safetensors>=0.4",
    "pooch>=1.8",
    "pyyaml>=6",
    "joblib>=1.3",
    "jinja2>=3",
    "filelock>=3",
    "transformers>=4.48",
    "huggingface-hub>=0.24",
]
EXTRAS = {
    # faiss-gpu and faiss-cpu own the same module: install exactly one
    "gpu": ["faiss-gpu>=1.15"],
    "cpu": ["faiss-cpu>=1.8"],
    "egemaps": ["opensmile>=2.5"],  # free for research only, hence optional
    # these releases carry their weights
    "encoders": ["moonshine-voice==0.0.49", "onnxruntime>=1.18", "distillmos==0.9.1"],
    "notebooks": [
        "papermill>=2.5",
        "nbconvert>=7",
        "notebook==6.5.7",
        "widgetsnbextension==3.6.6",
        "ipykernel>=6.17",
    ],
    "cluster": ["dask>=2024.8", "distributed>=2024.8"],  # Colab ships both
    "test": [
        "pytest>=8",
        "hypothesis>=6.100",
        "pyarrow>=14",
        "pytest-xdist>=3.5",
        "playwright>=1.40",
        "ruff>=0.6",
    ],
}

setup(
    name="colab_utils",
    version=VERSION,
    description="Few-shot and cross-corpus speech emotion recognition for Google Colab notebooks",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["colab_utils", "colab_utils.*"]),
        "colab_utils.data_manifests",
    ],
    package_dir={"colab_utils.data_manifests": "data_manifests"},
    package_data={
        "colab_utils.panel": ["recorder.js"],
        "colab_utils.data_manifests": ["*.csv", "*.yaml", "*.bib", "folds/*.csv", "protocols/*"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
