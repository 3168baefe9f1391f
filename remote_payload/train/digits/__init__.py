"""The digit classifier, in parts: flags, data, model, loop, files it writes, wandb."""
