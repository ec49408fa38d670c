# Unlabelled lung crops of the detector's training folds, distorted as Models
# Genesis does. load_config copies the pipeline and the detector's HU window,
# model.data_preprocessor.window, to the data sets. Names with two underscores
# stay in this file.
data_root = 'data/luna16'
# series uids in place of subsets, for every data set
test_series = None
val_series = None
pipeline = [
    dict(type='LoadLungCrop', size=(32, 64, 64), max_tissue=0.15,
         min_lung=0.2),
    dict(type='RepeatedFlip3D', prob=0.4),
    dict(type='LocalPixelShuffle', prob=0.5),
    dict(type='NonLinearIntensity', prob=0.9),
    dict(type='Painting', prob=0.9, inside=0.2),
    dict(type='PackPair'),
]
__crops = dict(
    type='LungCropDataset',
    data_root=data_root,
    crops_per_scan=8,
    test_subsets=(9, ),
    val_subsets=(8, ),
    test_series=test_series,
    val_series=val_series,
    window=None)
train_dataloader = dict(
    batch_size=6,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='ExactSampler', shuffle=True),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(
        **__crops,
        split='train',
        folds='train'))  # 'all' as the method's authors; results say so
val_dataloader = dict(
    batch_size=6,
    num_workers=1,
    sampler=dict(type='ExactSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='pseudo_collate'),
    dataset=dict(**__crops, split='val'))
val_evaluator = dict(type='RestorationMetric')
