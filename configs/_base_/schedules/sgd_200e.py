# NoduleNet's schedule: 200 epochs, learning rate / 10 after 100 and 160
train_cfg = dict(type='ExactEpochLoop', max_epochs=200, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[100, 160], gamma=0.1, by_epoch=True)
]
