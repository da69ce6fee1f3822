"""The images of a teacher, made from the student's batch."""

from __future__ import annotations

from torch import Tensor

from wkd_det.classification.data import ImagePreprocessor
from wkd_det.distillation.images import check_pixels, grey_as_colours


class TeacherImages:
    """Makes the teacher's batch of the student's: its normalisation, its number of channels.

    Args:
        student: Preprocessor that makes the batches.
        teacher: Preprocessor of the teacher.
        repeats: Give the teacher, a network of 3 channels, each grey image three times.
    """

    def __init__(
        self, student: ImagePreprocessor, teacher: ImagePreprocessor, *, repeats: bool = False
    ) -> None:
        self._student = student
        self._teacher = teacher
        self._repeats = repeats
        self._same_pixels = student is teacher or student.scale == teacher.scale
        self._checked = False

    def __call__(self, images: Tensor) -> Tensor:
        """Return the batch as the teacher's preprocessor would have normalised it.

        Args:
            images: Batch as the student's preprocessor normalised it, shape ``(N, C, H, W)``;
                returned as it is if nothing differs.

        Raises:
            ValueError: In the first batch, if the images were normalised before the student's
                preprocessor, too.
        """
        if not self._same_pixels:
            student, teacher = self._student, self._teacher
            pixels = images * student.std + student.mean
            if not self._checked:
                check_pixels(pixels, teacher.std)
                self._checked = True  # once is enough, and waits for the device
            images = (pixels - teacher.mean) / teacher.std
        return grey_as_colours(images) if self._repeats else images
