# Each target sets up what it needs: a virtual environment in .venv, and the package in it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One process more than there are cores, as some wait for the programs that they start, and one thread in each. What the tests of
# a file share is made once, and files begin in the order of pyproject.toml. Programs find modules compiled, whatever the shell asks for.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
    --numprocesses $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow test-all bench campaign reports leaderboard docs lint install install-dev

# Two variants with three seeds each, the least that gives a verdict: 7 minutes of one core, about 4 minutes on two.
demo: install
	$(BIN)/prologue-bench run ablations/prologue_count.yaml --profile quick --seeds 0-2 \
	    --set data=fashion-mnist-embedded --set 'vary.tokenizer.prologue_tokens=[0, 8]' \
	    --set 'metrics=[rfid, gfid, generation-gap, rate, codebook, probe]' --out reports/demo

test: install-dev # unit, pipeline and browser
	$(PYTEST)

test-slow: install-dev
	$(PYTEST) tests/slow

test-all: install-dev
	$(PYTEST) tests

bench: install-dev
	mkdir -p .benchmarks
	$(BIN)/python -m pytest benchmarks --benchmark-columns=min,median,max,rounds --benchmark-sort=name \
	    --benchmark-json=.benchmarks/latest.json

# Takes hours: runs all tries of all campaigns and writes their table into docs/reliability.md.
campaign: install-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.slow --write --jobs $$(nproc)

# The published reports, anew: a day on two cores, less on a large GPU that jobs share, as with
# make reports OPTIONS='--jobs 12 --gpus 0,0,0,0,0,0,0,0,0,0,0,0'. What is finished stays in the store, and the same command goes on.
REPORTS := prologue_count prologue_post tokenizers guidance ar_scale ce_weight prologue_codebook straight_through visual_dropout \
    colour_scenes recipes steady steady_tokenizers steady_budget steady_steps steady_weight steady_long steady_losses steady_losses_budget \
    steady_losses_search
SEEDS := 0,1,2,3,4
reports: install
	for name in $(REPORTS); do \
	    $(BIN)/prologue-bench run ablations/$$name.yaml --seeds $(SEEDS) --reuse reports/$$name $(OPTIONS) \
	    || exit 1; done

# The rows of the published reports that are there, and the page that is made from all rows.
leaderboard: install
	for name in $(notdir $(wildcard $(addprefix reports/,$(REPORTS)))); do \
	    $(BIN)/prologue-bench validate reports/$$name --extract registry/results/$$name.json || exit 1; done
	$(BIN)/python -m pages.leaderboard

docs: install-dev
	$(BIN)/mkdocs build

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
