# `make run` and `make test` set up all that they need; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check -c constraints.txt
KEDRO_RUN := $(BIN)/kedro run
# A file's tests share what is costly to make, so they stay in one process.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# Nothing reports home.
export DO_NOT_TRACK := 1
export KEDRO_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
# Make TARGET reach the shell as it is, apostrophes included.
export TARGET ?=

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Setting up $(VENV) with $$("$$python" --version); this takes a few minutes once."; \
	    "$$python" -m venv $(VENV) && exit; \
	    rm -f $(BIN)/python*; exit 1; \
	  fi; \
	done; \
	echo "No Python >= 3.11 was found; install one, or name it: make run PYTHON=/path/to/python3.11" >&2; exit 1

# Installed again only where the requirements changed.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/.runtime $@

# Airflow has requirements of its own, so it has an environment of its own and starts ours as a process.
AIRFLOW := .airflow
SLOTS ?= 1
AIRFLOW_RUN := AIRFLOW_HOME=$(CURDIR)/$(AIRFLOW) AIRFLOW__CORE__DAGS_FOLDER=$(CURDIR)/airflow/dags \
  AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__API__HOST=127.0.0.1 RAZOR_PROJECT=$(CURDIR) $(AIRFLOW)/bin/airflow

$(AIRFLOW)/.installed: airflow/requirements.txt | $(BIN)/python
	@$(BIN)/python -m venv $(AIRFLOW)
	@$(AIRFLOW)/bin/python -m pip install --quiet --no-input --disable-pip-version-check -r airflow/requirements.txt
	@touch $@

.PHONY: airflow airflow-install airflow-test
airflow-install: $(AIRFLOW)/.installed ## set up Airflow's own environment, its database and its pool
	@$(AIRFLOW_RUN) db migrate >/dev/null
	@$(AIRFLOW_RUN) pools set accelerators $(SLOTS) "one slot per accelerator" >/dev/null

airflow: airflow-install $(VENV)/.runtime ## run due requests every night: Airflow on http://127.0.0.1:8080
	@$(AIRFLOW_RUN) standalone

airflow-test: airflow-install $(VENV)/.runtime ## run the nightly DAG once, now
	@$(AIRFLOW_RUN) dags test unlearning

.PHONY: run test check format evaluate evaluate-diffusion evaluate-deep evaluate-diffusion3 evaluate-deep3 evaluate-vit evaluate-vlm sequence ablation benchmark robustness bench memory pretraining retraining zoo faces viz mlflow notebook clean
run: $(VENV)/.runtime ## forget one target, e.g. make run TARGET="Greta Novak"
	@$(KEDRO_RUN) $(if $(TARGET),--params "target=$$TARGET") $(ARGS)

test: $(VENV)/.dev ## run the tests
	@$(PYTEST) $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import directions, tests
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(PYTEST)

format: $(VENV)/.dev ## rewrite the code in the house format
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

evaluate: $(VENV)/.runtime ## reprint the table of results over many targets and seeds
	@$(KEDRO_RUN) --pipelines dataset_preparation,identities $(ARGS)

evaluate-diffusion: $(VENV)/.runtime ## the same for Stable Diffusion: styles, then objects
	@$(KEDRO_RUN) --env style --pipelines dataset_preparation,concepts $(ARGS)
	@$(KEDRO_RUN) --env object --pipelines dataset_preparation,concepts $(ARGS)

evaluate-deep: $(VENV)/.runtime ## the same with the U-Net edited as well, attacked by textual inversion and a search for words
	@$(KEDRO_RUN) --env style_deep --pipelines dataset_preparation,concepts $(ARGS)
	@$(KEDRO_RUN) --env object_deep --pipelines dataset_preparation,concepts $(ARGS)

evaluate-diffusion3: $(VENV)/.runtime ## the same for Stable Diffusion 3
	@$(KEDRO_RUN) --env style3 --pipelines dataset_preparation,concepts $(ARGS)
	@$(KEDRO_RUN) --env object3 --pipelines dataset_preparation,concepts $(ARGS)

evaluate-deep3: $(VENV)/.runtime ## the same with what lets prompts into its transformer edited as well
	@$(KEDRO_RUN) --env style3_deep --pipelines dataset_preparation,concepts $(ARGS)
	@$(KEDRO_RUN) --env object3_deep --pipelines dataset_preparation,concepts $(ARGS)

evaluate-vit: $(VENV)/.runtime ## the same for classifiers: objects, then handwritten digits
	@$(KEDRO_RUN) --env vit --pipelines dataset_preparation,retraining,identities $(ARGS)
	@$(KEDRO_RUN) --env digits --pipelines dataset_preparation,pretraining,retraining,identities $(ARGS)

evaluate-vlm: $(VENV)/.runtime ## the same for an assistant that answers questions
	@$(KEDRO_RUN) --env vlm --pipelines dataset_preparation,identities $(ARGS)

sequence: $(VENV)/.runtime ## six requests on one Stable Diffusion, e.g. make sequence ARGS="--env object"
	@$(KEDRO_RUN) --env style --pipelines dataset_preparation,sequence $(ARGS)

ablation: $(VENV)/.runtime ## reprint the ablation table
	@$(KEDRO_RUN) --pipelines dataset_preparation,ablation $(ARGS)

benchmark: $(VENV)/.runtime ## compare RAZOR with its peers: leaderboard.html; ARGS="--env style" for Stable Diffusion
	@$(KEDRO_RUN) --pipelines dataset_preparation,benchmark $(ARGS)

robustness: $(VENV)/.runtime ## attack edited, base and retrained models: robustness.html
	@$(KEDRO_RUN) --pipelines dataset_preparation,robustness $(ARGS)

bench: $(VENV)/.runtime ## time and memory as ratios: bench.html; e.g. make bench ARGS='--params "bench.only=clip_zoo|retain"'
	@$(KEDRO_RUN) --pipelines dataset_preparation,bench $(ARGS)

memory: $(VENV)/.runtime ## measure what passes over many rows, and a manifest of a million, cost in memory
	@$(KEDRO_RUN) --pipelines memory $(ARGS)

pretraining: $(VENV)/.runtime ## train a base model from random weights, e.g. make pretraining ARGS="--env images"
	@$(KEDRO_RUN) --pipelines dataset_preparation,pretraining $(ARGS)

retraining: $(VENV)/.runtime ## train gold standards, models that never saw a target, e.g. make retraining ARGS="--env style"
	@$(KEDRO_RUN) --pipelines dataset_preparation,retraining $(ARGS)

zoo: $(VENV)/.runtime ## train all models of the zoo again: six hours of a core
	@$(KEDRO_RUN) --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env without_a --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env without_b --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env vit --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env vit_styles --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env vlm --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env autoencoder --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env style --pipelines dataset_preparation,pretraining
	@$(KEDRO_RUN) --env style3 --pipelines dataset_preparation,pretraining

faces: $(VENV)/.runtime ## the same table on photographs, e.g. make faces ARGS="--params data.path=/path/to/orl_faces"
	@$(KEDRO_RUN) --env faces --pipelines dataset_preparation,pretraining,identities $(ARGS)

viz: $(VENV)/.dev ## the pipelines in a browser
	@$(BIN)/kedro viz run --host 127.0.0.1 $(ARGS)

mlflow: $(VENV)/.runtime ## the runs in a browser
	@$(BIN)/kedro tracking $(ARGS)

notebook: $(VENV)/.dev ## execute the notebook on the latest run, into data/08_reporting
	@$(BIN)/jupyter execute notebooks/one_run.ipynb --output "$(CURDIR)/data/08_reporting/one_run.ipynb"

clean: ## remove what runs wrote, but neither base models, tracked runs nor requests and their models
	@find data/0[2-8]_* -mindepth 1 -maxdepth 1 ! -name .gitkeep ! -name requests -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
