"""Prediction in a thread pool with a bounded queue."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np

from happysad.classifier import Classifier
from happysad.detector import Detector
from happysad.records import ImageRecord, image_record
from happysad.serving import metrics
from happysad.serving.problem import busy
from happysad.serving.settings import Settings

Crop = Literal["face", "whole"]

Upload = tuple[str, bytes]
"""An image's name and its bytes."""


class Engine:
    """Runs predictions in a thread pool.

    Attributes:
        detectors: The inference pipeline for each kind of crop: every detected ``"face"``, or the
            ``"whole"`` image.
        ready: Whether a first prediction has succeeded.
    """

    def __init__(self, settings: Settings) -> None:
        """Load the model.

        Raises:
            ModelError: The file is missing, damaged, or was not made by happysad.
        """
        classifier = Classifier(settings.model)
        self.detectors: dict[Crop, Detector] = {
            crop: Detector(
                classifier,
                crop=crop,
                max_pixels=settings.max_pixels,
                formats=settings.formats,
                on_stage=self._observe,
            )
            for crop in get_args(Crop)
        }
        self.ready = False
        self._threads = settings.threads
        self._room = settings.threads + settings.queue
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="predict")
        self._pending = 0

    async def warm_up(self) -> None:
        """Predict as many times as there are threads.

        Images of other proportions, and rotated faces, need further canvases of the face detector;
        each is prepared by the first image that needs it.
        """
        blank = np.full((480, 640, 3), 128, np.uint8)
        loop = asyncio.get_running_loop()
        jobs = [
            loop.run_in_executor(self._pool, detector.predict, blank)
            for detector in self.detectors.values()
            for _ in range(self._threads)
        ]
        await asyncio.gather(*jobs)
        self.ready = True

    async def predict(self, uploads: Sequence[Upload], crop: Crop = "face") -> list[ImageRecord]:
        """Predict a batch of images.

        Returns:
            A record for each image, in order; an error record if it cannot be read.

        Raises:
            Problem: The queue is full.
        """
        self.check_room(len(uploads))
        loop = asyncio.get_running_loop()
        jobs = []
        for upload in uploads:
            self._count(1)
            job = self._pool.submit(self._predict, upload, crop, time.perf_counter())
            # An image occupies its place until its thread has finished, aborted or not.
            job.add_done_callback(lambda _: loop.call_soon_threadsafe(self._count, -1))
            jobs.append(job)
        try:
            return await asyncio.gather(*map(asyncio.wrap_future, jobs))
        finally:
            # After an abort, pending jobs are not started.
            for job in jobs:
                job.cancel()

    def check_room(self, images: int = 1) -> None:
        """Check that the queue has room; an idle server accepts any number.

        Raises:
            Problem: The queue is full.
        """
        # Otherwise a form with more images than the queue has places would never be accepted.
        if self._pending and self._pending + images > self._room:
            raise busy("too many images are waiting")

    def close(self) -> None:
        """Stop accepting work."""
        self.ready = False
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, change: int) -> None:
        self._pending += change
        metrics.QUEUE.inc(change)

    def _predict(self, upload: Upload, crop: Crop, asked: float) -> ImageRecord:
        self._observe("wait", time.perf_counter() - asked)
        name, content = upload
        result = self.detectors[crop].predict_image(content, name)
        for prediction in result.predictions:
            metrics.FACES.labels(prediction.label).inc()
        return image_record(result)

    @staticmethod
    def _observe(stage: str, seconds: float) -> None:
        metrics.STAGES.labels(stage).observe(seconds)
