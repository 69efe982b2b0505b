"""What every test shares: one thread, so that results and times do not depend on the machine's load."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("project", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("project")
