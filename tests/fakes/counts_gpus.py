"""A package that counts the GPUs when it is imported: torch notes it, and says so in forks only (`poison_fork`)."""

import os

import torch

os.register_at_fork(after_in_child=lambda: setattr(torch.cuda, "_is_in_bad_fork", lambda: True))
