"""What a run will need, computed on a CPU before any job: batches, tokens, memory, disk, hours, and fairness."""
