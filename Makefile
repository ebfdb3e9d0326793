# Two commands: `make run` (the main job) and `make test`. Each does its whole set-up on a machine
# with Python >= 3.11. While one works on the code: `make check`. Before a release: `make long`.
#   make run                                       the embedded synthetic corpus
#   make run NOTEBOOK=02_maml_training             another notebook
#   make run CORPUS=emodb AUDIO=path/to/audio      real speech (more: FEATURES=egemaps, SETTINGS="CLASSIFIER=linear-svm C=0.001")
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
NOTEBOOK ?= 01_feature_extraction
# What is given goes on letter by letter, through the environment: neither make nor a shell reads the
# spaces, quotes and dollars in it. Nothing given is what the notebook says.
GIVEN   := NOTEBOOK CORPUS AUDIO FEATURES SETTINGS
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name))))
export $(GIVEN)

export MPLBACKEND = Agg
export PYDEVD_DISABLE_FILE_VALIDATION = 1

.PHONY: run check test long setup run-embedded colab clean

setup: $(VENV)/.ready

# The virtual environment holds what Colab holds: torch's CUDA wheels also run on a machine without a GPU.
$(VENV)/.ready: setup.py constraints-colab.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --editable ".[cpu,egemaps,encoders,notebooks,cluster,test]" --constraint constraints-colab.txt
	touch $@

run: setup
	$(BIN)/python tools/run_notebook.py "notebooks/$$NOTEBOOK.ipynb" $(if $(CORPUS),CORPUS="$$CORPUS") \
	    $(if $(AUDIO),AUDIO="$$AUDIO") $(if $(FEATURES),FEATURES="$$FEATURES") --settings="$$SETTINGS"

# One thread each, so that the tests of as many files run at once as there are cores.
# A crashed worker ends the run: `loadfile` never hands its files to a new one and would wait for ever.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart=0

# For every save: lint, format, and the tests that take no time.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/stamp_forms.py --check
	$(PYTEST) -m "not slow and not long"

test: check run-embedded
	$(PYTEST) -m "slow and not long"

# JupyterLab 4 with ipywidgets 8, beside Colab's ipywidgets 7; everything else is that of .venv.
.venv-lab/.ready: $(VENV)/.ready
	$(BIN)/python -m venv .venv-lab
	.venv-lab/bin/pip install --quiet "jupyterlab>=4,<5" "ipywidgets>=8,<9"
	cd .venv-lab/lib/python3*/site-packages && echo ../../../../$(VENV)/lib/*/site-packages > suite.pth
	touch $@

# What takes long: each study killed twelve times, two and three at once, notebooks whose runtime is lost.
long: setup .venv-lab/.ready
	$(PYTEST) -m long

# The tests leave the same page as `make run` does: the main job on the embedded corpus.
run-embedded: setup
	$(BIN)/python tools/run_notebook.py notebooks/01_feature_extraction.ipynb CORPUS=synthetic

# One zip for Colab: the first cell of a notebook that is opened alone asks for it.
colab:
	$(PYTHON) tools/colab_zip.py

clean:
	rm -rf $(VENV) .venv-lab out build dist *.egg-info
