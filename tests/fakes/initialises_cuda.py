"""A package that initialises CUDA when it is imported (torchao's kernels do), on a machine that need not have any."""

import torch

torch.cuda._initialized = True
