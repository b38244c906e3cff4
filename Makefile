# Every target below sets up what it needs, in .venv; `make help` lists them.
#
# PYTHON=...  the Python to make .venv with, when the one found is not the one wanted
# ARGS=...    further arguments: make demo ARGS=--json, make test ARGS="-k weights"

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint bench lock clean
# Output stays readable, and pytest's closing line comes last, under `make -j` too.
.NOTPARALLEL:

VENV := .venv/bin
COMPILE := sh scripts/uv.sh pip compile --universal --python-version 3.11 --generate-hashes \
	--no-header --quiet

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

setup: ## make .venv, or bring it up to date
	@sh scripts/setup.sh

demo: setup ## train, serve two versions, split the traffic, promote on evidence
	@$(VENV)/abserve demo $(ARGS)

test: lint ## everything that must pass: lint, then pytest (CI runs this)
	$(VENV)/pytest -n 2 --dist loadfile -m "not alone" $(ARGS)
	@# Five means that ARGS chose none of those that measure time.
	$(VENV)/pytest -m alone $(ARGS) || test $$? -eq 5

check: test ## the same as make test

lint: setup ## format, lint, types, who may import whom, and the manifests
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(VENV)/lint-imports
	$(VENV)/abserve check

bench: setup ## measure ours beside its peers (needs wrk and h2load: apt-get install wrk nghttp2-client)
	@$(VENV)/python -m benchmarks $(ARGS)

lock: setup ## pin the dependencies again; ARGS=--upgrade takes newer versions
	$(COMPILE) --extra dev $(ARGS) --output-file requirements.lock pyproject.toml
	@# The image serves with the very versions that were tested, and has every runtime.
	$(COMPILE) --extra image --extra sklearn --extra signing --constraint requirements.lock \
		--output-file requirements-serving.lock pyproject.toml
	$(COMPILE) --group rollout --constraint requirements.lock \
		--output-file requirements-rollout.lock
	$(COMPILE) --group training --constraint requirements.lock \
		--output-file requirements-training.lock
	echo uv | $(COMPILE) --no-annotate $(ARGS) --output-file scripts/requirements-uv.lock -

clean: ## remove .venv and the caches; versions and the local cluster stay
	rm -rf .venv .venv-old .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
