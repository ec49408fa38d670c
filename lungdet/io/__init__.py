"""Reading and writing files; import the modules by name.

- ``image``: scans and masks, and the table of formats, whose loaders are
``metaimage``, ``nifti`` and ``nrrd``; ``dicom`` reads folders.
- ``hu_rules``, ``limits``: which values are HU, which sizes are allowed.
- ``files``, ``inflate``, ``numbers``, ``directions``: what all loaders share:
  opening files, unpacking, numbers in text, axes.
- ``lidc``, ``lidc_masks``: radiologists' outlines, and masks of them.
- ``luna16``, ``reference_set``: LUNA16's tables.
- ``case_store``, ``case_json``: prepared cases. ``results``: detections.
- ``atomic``, ``processes``: atomic writes, and pools that stop at once.
"""
