"""Files to structures and back; import the modules by name.

- ``image``: the way in for scans and masks, and the table of formats, whose
  readers are ``metaimage``, ``nifti`` and ``nrrd``; ``dicom`` reads folders.
- ``hu_rules``, ``limits``: which values are HU, which sizes an image can have.
- ``files``, ``inflate``, ``numbers``, ``directions``: what every reader does
  alike with files, packed data, text and axes.
- ``lidc``, ``lidc_masks``: radiologists' outlines, and masks of them.
- ``luna16``, ``reference_set``: LUNA16's tables.
- ``case_store``, ``case_json``: prepared cases. ``results``,
  ``result_folder``: detections.
- ``atomic``, ``processes``: whole files, and pools that stop at once.
"""
