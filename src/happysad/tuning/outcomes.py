"""Follow the trials of a search."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from happysad.training.checkpoint import Epoch
from happysad.training.run import Run
from happysad.tuning.ranking import Outcome, State, Trial, finite, write_table


def trial_run(out: Path, number: int) -> Run:
    """Return the run directory of a trial."""
    return Run(out / f"{number:03}")


class Outcomes(Callback):  # type: ignore[misc]
    """Follows the trials and writes trials.csv; Ray calls the methods ``on_…``.

    Attributes:
        stopped: Numbers of the trials that an earlier run of this search stopped early.
    """

    def __init__(
        self,
        out: Path,
        plan: list[Trial],
        on_epoch: Callable[[Trial, Epoch, int], None],
        on_trial: Callable[[Trial, Outcome, int], None],
    ) -> None:
        self.out, self.plan, self.on_epoch, self.on_trial = out, plan, on_epoch, on_trial
        self.table = out / "trials.csv"
        self.states: dict[int, tuple[State, str | None]] = {}
        self.stopped: set[int] = set()
        if self.table.is_file():
            with self.table.open(encoding="utf-8", newline="") as file:
                self.stopped = {
                    int(row["run"]) for row in csv.DictReader(file) if row["state"] == "stopped"
                }

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles callbacks into its experiment state, which is not used here.
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Report an epoch."""
        if "problem" not in result:
            row = Epoch(**{name: result[name] for name in Epoch.__dataclass_fields__})
            self.on_epoch(self.plan[trial.config["number"]], row, len(self.plan))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Record a trial that ended by itself or was stopped."""
        number = trial.config["number"]
        if problem := trial.last_result.get("problem"):
            self._end(number, "failed", problem)
        else:
            self._end(number, "finished" if trial_run(self.out, number).finished else "stopped")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Record a trial whose process raised or died, too often to be continued."""
        lines = str(trial.get_error() or "the process died").strip().splitlines()
        self._end(trial.config["number"], "failed", lines[-1])

    def _end(self, number: int, state: State, problem: str | None = None) -> None:
        self.states[number] = state, problem
        if state == "stopped":
            # A run that is continued creates it again.
            trial_run(self.out, number).crops.unlink(missing_ok=True)
        outcomes = self.ended()
        write_table(self.table, self.plan, outcomes)
        self.on_trial(self.plan[number], outcomes[number], len(self.plan))

    def ended(self) -> list[Outcome]:
        """Return each trial's outcome so far."""
        return [self._outcome(trial) for trial in self.plan]

    def _outcome(self, trial: Trial) -> Outcome:
        run = trial_run(self.out, trial.number)
        before: State = "stopped" if trial.number in self.stopped else "pending"
        state, problem = self.states.get(trial.number, (before, None))
        history = run.read_history()
        last = [row for row in history if row.stage == history[-1].stage]
        best = min(last, key=lambda row: finite(row.val_loss), default=None)
        if best and state in ("finished", "stopped") and not math.isfinite(best.val_loss):
            state = "failed"
            problem = "the validation loss is not a number; lower the learning rate"
        return Outcome(
            run=run.path,
            seed=trial.recipe.seed,
            state=state,
            epochs=len(history),
            val_loss=best.val_loss if best and math.isfinite(best.val_loss) else None,
            val_accuracy=best.val_accuracy if best else None,
            problem=problem,
        )
