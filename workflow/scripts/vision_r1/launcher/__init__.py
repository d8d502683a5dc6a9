"""How a job is started on its machine: one at a time, on GPUs of its own, on all of its nodes."""
