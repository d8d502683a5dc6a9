"""How a job is started: one at a time on its machine, on GPUs of its own, in how many processes, on all its nodes."""
