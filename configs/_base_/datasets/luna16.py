# Folds are LUNA16's subsets: 9 for the test, 8 for choosing a checkpoint.
# Names with two underscores stay in this file.
data_root = 'data/luna16'
# series uids in place of subsets, for every data set
test_series = None
val_series = None
# load_config copies each pipeline to the data set of its loader
train_pipeline = [
    dict(type='PlaceCrop', size=(128, 128, 128), margin=12),
    dict(type='RandomFlip3D', axes=(1, 2)),
    dict(
        type='RandomAffine3D',
        scale=(0.75, 1.25),
        scale_prob=1.0,
        degrees=180,
        rotate_prob=1.0),
    dict(type='LoadCrop'),
    dict(type='PackDetInputs'),
]
val_pipeline = [
    dict(type='LoadCase', targets=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [dict(type='LoadCase'), dict(type='PackDetInputs')]
__cases = dict(
    type='LUNA16Dataset',
    data_root=data_root,
    test_subsets=(9, ),
    val_subsets=(8, ),
    test_series=test_series,
    val_series=val_series)
__whole_scans = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type='ExactSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='pseudo_collate'))
train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,  # on a GPU
    drop_last=True,  # batch norm must not meet a batch of one
    sampler=dict(type='ExactSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(**__cases, split='train', background_ratio=0.0))
val_dataloader = dict(
    **__whole_scans, dataset=dict(**__cases, split='val'))
test_dataloader = dict(
    **__whole_scans, dataset=dict(**__cases, split='test', skip_done=None))
val_evaluator = dict(type='FROCMetric', bootstrap=0)
test_evaluator = dict(type='FROCMetric', out_dir=None)
