# The laboratory: experiments on nano models over five seeds. Hours of CPU in all; what is finished stays in $(LAB), so that any of them
# can be stopped and started again.
LAB ?= mathmill-lab

.PHONY: lab-bases lab-sft-curve lab-pass-at-k lab-step-dpo

lab-bases: install       ## train the laboratory's base models (about six minutes of CPU each)
	$(BIN)/python -m benchmarks.lab bases --work $(LAB)

lab-sft-curve: install   ## learning curves of the nano solver
	$(BIN)/python -m benchmarks.lab sft-curve --work $(LAB)

lab-pass-at-k: install   ## pass@k and maj@k for k = 1 to 32
	$(BIN)/python -m benchmarks.lab pass-at-k --work $(LAB)

lab-step-dpo: install    ## Step-DPO against DPO and SFT at equal pairs
	$(BIN)/python -m benchmarks.lab step-dpo --work $(LAB)
