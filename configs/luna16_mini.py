"""BASE reduced for three real scans on a CPU: two train, one tests.

Same network and losses; crops of 96^3, batches of 2, 30 epochs, heads from
epochs 5 and 10. Choose the test scan, in training and test alike, with
--cfg-options test_series="['UID']". Three scans cannot measure a detector;
not trained yet.
"""
_base_ = ['./nodulenet_base.py']
val_series = []
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(
        background_ratio=0.5,
        pipeline=[
            dict(type='PlaceCrop', size=(96, 96, 96), margin=12),
            dict(type='RandomFlip3D', axes=(1, 2)),
            dict(type='LoadCrop'),
            dict(type='PackDetInputs'),
        ]))
test_dataloader = dict(num_workers=0)
val_dataloader = None
val_cfg = None
val_evaluator = None
model = dict(
    channels_last=True,
    train_cfg=dict(stage_epochs=dict(rcnn=5, mask=10)),
    test_cfg=dict(window=(96, 96, 96)))
train_cfg = dict(max_epochs=30)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[15, 24], gamma=0.1, by_epoch=True)
]
default_hooks = dict(checkpoint=dict(interval=5, save_best=None))
