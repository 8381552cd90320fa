"""Which trials of a search are stopped early."""

from typing import Any, Final

from ray.tune.schedulers import ASHAScheduler

from happysad.tuning.ranking import Trial

REDUCTION: Final = 3
"""At a third of its epochs a trial goes on if it is in the best third so far."""


class Halving(ASHAScheduler):  # type: ignore[misc]
    """Successive halving, in which nobody is stopped for having come to the end."""

    def __init__(self, plan: list[Trial]) -> None:
        self.epochs = {t.number: sum(s.epochs for s in t.recipe.stages) for t in plan}
        most = max(self.epochs.values())
        super().__init__(
            time_attr="epoch",
            metric="loss_or_worst",
            mode="min",
            # Earlier, it would be the warm-up that is compared.
            grace_period=max(1, round(most / REDUCTION)),
            reduction_factor=REDUCTION,
            max_t=most + 1,
        )

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Say whether a trial goes on after an epoch."""
        if "problem" in result or result["epoch"] >= self.epochs[trial.config["number"]]:
            return str(self.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))
