"""Which trials of a search are stopped early."""

from typing import Any, Final

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from happysad.cluster.ranking import Trial

REDUCTION: Final = 3
"""At a ninth and a third of its epochs a trial goes on if it is in the best third so far."""


class BySeed(FIFOScheduler):  # type: ignore[misc]
    """Successive halving among the trials of each seed."""

    def __init__(self, plan: list[Trial]) -> None:
        super().__init__()
        self.plan = plan
        self.epochs = {t.number: sum(s.epochs for s in t.recipe.stages) for t in plan}
        most = max(self.epochs.values())
        self.halving = {
            trial.recipe.seed: ASHAScheduler(
                time_attr="epoch",
                metric="loss_or_worst",
                mode="min",
                grace_period=max(1, round(most / REDUCTION**2)),
                reduction_factor=REDUCTION,
                # Nobody is stopped for having come to the end.
                max_t=most + 1,
            )
            for trial in plan
        }

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Let a trial compete with those of its seed."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Say whether a trial goes on after an epoch."""
        if "problem" in result or result["epoch"] >= self.epochs[trial.config["number"]]:
            return str(self.CONTINUE)
        return str(self._of(trial).on_trial_result(tune_controller, trial, result))

    def _of(self, trial: Any) -> ASHAScheduler:
        return self.halving[self.plan[trial.config["number"]].recipe.seed]
