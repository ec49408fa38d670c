"""lungdet_s.py with crops of 96^3 in the last quarter of the training.

Three such crops are about the work of eight of 64^3, so all steps take about
as long.
"""
_base_ = ['./lungdet_s.py']
train_pipeline = [
    dict(_base_.train_pipeline[0], late_size=(96, 96, 96), late_epoch=31),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(
    batch_sampler=dict(type='LateBatchSampler', late_batch_size=3))
