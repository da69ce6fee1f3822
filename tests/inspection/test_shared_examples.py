"""Examples that several detectors share."""

import pytest
import torch
from torch.testing import assert_close

from mini_dataset.digits import CLASSES
from wkd_det.inspection.shared_examples import shared_examples


def test_examples_are_shared(detectors, dataset):
    examples = shared_examples(detectors, dataset, range(4), CLASSES, seed=1)
    truth = [dataset[item]['data_samples'].gt_instances for item in range(4)]
    for item, instances in enumerate(truth):
        own = examples.items == item
        objects = own & (examples.labels < 10)
        assert examples.labels[objects].tolist() == instances.labels.tolist()
        assert_close(examples.boxes[objects], instances.bboxes.tensor)
        assert int((own & (examples.labels == 10)).sum()) <= 2
    assert examples.class_names == [*CLASSES, 'background']
    assert examples.logits['teacher'].shape == examples.logits['plain'].shape
    # The logits are the classifier's on the features that are given beside them.
    for name, detector in detectors.items():
        with torch.no_grad():
            logits = detector.roi_head.bbox_head.fc_cls(examples.features[name])
        assert_close(logits, examples.logits[name], rtol=1e-4, atol=1e-5)  # other batch sizes
    again = shared_examples(detectors, dataset, range(4), CLASSES, seed=1)
    assert torch.equal(again.boxes, examples.boxes)
    other = shared_examples(
        dict(reversed(detectors.items())), dataset, range(4), CLASSES, background_per_image=0
    )
    assert int(other.labels.max()) < 10


def test_examples_of_other_classes(detectors, dataset):
    with pytest.raises(ValueError, match='teacher has 10 classes, the data 3'):
        shared_examples(detectors, dataset, range(2), CLASSES[:3])
    with pytest.raises(ValueError, match='the 0 images have no RoIs'):
        shared_examples(detectors, dataset, [], CLASSES)
