from types import SimpleNamespace

import pytest
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader
from trl.trainer.utils import RepeatSampler

from vision_r1.training.callbacks import ReplayEarlierEpochs


def dataloader(processes):
    """Rows 0..11 as TRL's loader gives them to process 0: groups of two, in an order drawn anew each epoch."""
    batches = BatchSampler(RepeatSampler(range(12), mini_repeat_count=2, batch_size=2, seed=0), 4, drop_last=False)
    if processes > 1:
        batches = BatchSamplerShard(batches, num_processes=processes, process_index=0)
    return DataLoader(list(range(12)), batch_sampler=batches)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("epoch", [None, 0.5, 1.0, 2.25])
def test_a_resumed_epoch_has_the_order_it_had(processes, epoch):
    whole, resumed = dataloader(processes), dataloader(processes)
    orders = [[batch.tolist() for batch in whole] for _ in range(3)]
    assert orders[0] != orders[1] != orders[2]
    ReplayEarlierEpochs().on_train_begin(None, SimpleNamespace(epoch=epoch), None, train_dataloader=resumed)
    assert [batch.tolist() for batch in resumed] == orders[int(epoch or 0)]
