# Two commands: `make run` (the main job) and `make test`. Each does its whole set-up on a machine with Python >= 3.11.
#   make run                                       the embedded synthetic corpus
#   make run CORPUS=emodb AUDIO=path/to/audio      real speech
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
CORPUS  ?= synthetic
AUDIO   ?=
FEATURES ?=

export MPLBACKEND = Agg
export PYDEVD_DISABLE_FILE_VALIDATION = 1

.PHONY: run test setup lint clean

setup: $(VENV)/.ready

# The virtual environment holds what Colab holds: torch's CUDA wheels also run on a machine without a GPU.
$(VENV)/.ready: setup.py constraints-colab.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --editable ".[cpu,egemaps,notebooks,test]" --constraint constraints-colab.txt
	touch $@
