"""Train by many recipes and from many seeds, on Ray Tune, and stop early what falls behind.

A trial is an ordinary run directory, and all that a search knows is in those and in its two files
``search.json`` and ``trials.csv``: taken up again, it tells Ray anew what each trial has shown so
far, and those that were under way go on from their checkpoints.
"""

import csv
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from happysad.ray_session import connect

# Ray would keep files of its own for every result, and answer Ctrl-C in its own way.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
# With this, its verbosity 0 is silence.
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"

from ray import tune as ray_tune
from ray.tune.schedulers import FIFOScheduler

from happysad.cores import cores
from happysad.dataset.scan import scan
from happysad.errors import HappysadError, RecipeError
from happysad.files import atomic_text
from happysad.training.checkpoint import Epoch
from happysad.training.recipe import Recipe, recipe_toml
from happysad.training.run import Run
from happysad.tuning.chart import plot_search
from happysad.tuning.halving import Halving
from happysad.tuning.ranking import Outcome, Ranked, Trial, or_worst, rank, write_table
from happysad.tuning.space import Vary, recipes
from happysad.tuning.threads import limit_threads

_RETRIES: Final = 2
"""Times that a trial goes on after its process or node was lost."""


@dataclass(frozen=True)
class SearchResult:
    """What came of a search.

    Attributes:
        recipes: From the best down.
        best: The file of the best recipe.
    """

    recipes: list[Ranked]
    best: Path


def tune(
    dataset: Path,
    base: Recipe,
    varied: Sequence[Vary],
    out: Path,
    *,
    trials: int | None = None,
    seeds: int = 1,
    cpus: int = 1,
    concurrency: int | None = None,
    address: str | None = None,
    group_pattern: str | None = None,
    resume: bool = False,
    on_epoch: Callable[[Trial, Epoch, int], None] = lambda trial, row, total: None,
    on_trial: Callable[[Trial, Outcome, int], None] = lambda trial, outcome, total: None,
) -> SearchResult:
    """Search for the recipe of lowest validation loss.

    Trials compete: asynchronous successive halving, Li et al. 2020, "A System for Massively
    Parallel Hyperparameter Tuning". Several seeds of a recipe are there to be averaged, and each
    has a split of its own, so with them all trials come to their end.

    Args:
        dataset: A folder with ``happy/`` and ``sad/``. On a cluster it and ``out`` must be at the
            same path on every node.
        base: The recipe to vary.
        varied: What of it varies.
        out: The folder to make: run directories ``000``, ``001``, …, ``trials.csv``,
            ``trials.png``, and ``best.toml``.
        trials: See `recipes`.
        seeds: Trials of each recipe, with its seed, the next, and so on.
        cpus: Cores of each trial.
        concurrency: Trials at once, at most; None = as many as there are cores for.
        address: Of a Ray cluster, see `session`; None = this machine alone.
        group_pattern: See `happysad.training.train.train`.
        resume: Go on with the search in ``out``, if there is one.
        on_epoch: Called with each epoch of each trial, and the number of trials.
        on_trial: Called with each trial that has ended, and the number of trials.

    Raises:
        RecipeError: A name or value that no recipe has, or ``out`` holds another search.
        DatasetError: The dataset cannot be trained on.
        HappysadError: There is no such cluster, or all trials failed.
    """
    dataset, out = dataset.resolve(), out.resolve()
    if Path(base.weights).is_file():
        base = replace(base, weights=str(Path(base.weights).resolve()))
    plan = _plan(base, recipes(base, varied, trials), seeds)
    # What would fail in every trial fails here.
    scan(dataset, group_pattern=group_pattern, others=base.others)
    _begin(out, plan, resume)
    outcomes = _Outcomes(out, plan, on_epoch, on_trial)
    with connect(address, max(cores(), cpus)):
        _search(dataset, plan, out, outcomes, cpus, concurrency, group_pattern, seeds)
    ended = outcomes.ended()
    ranked = rank(plan, ended, seeds)
    if not any(recipe.finished for recipe in ranked):
        problem = next(outcome.problem for outcome in ended if outcome.problem)
        raise HappysadError(f"{out}: no trial came to its end; the first: {problem}")
    best = out / "best.toml"
    atomic_text(best, _best_toml(ranked[0], len(ranked)))
    plot_search(ranked, out / "trials.png")
    return SearchResult(ranked, best)


def _plan(base: Recipe, tried: Sequence[tuple[dict[str, Any], Recipe]], seeds: int) -> list[Trial]:
    each = [
        (values, replace(recipe, seed=recipe.seed + seed))
        for values, recipe in tried
        for seed in range(seeds)
    ]
    return [Trial(number, *trial) for number, trial in enumerate(each)]


def _begin(out: Path, plan: list[Trial], resume: bool) -> None:
    """Claim the folder, or check that it is this search's when resuming."""
    file = out / "search.json"
    content = json.dumps([asdict(trial) for trial in plan], indent=1)
    if file.is_file():
        if not resume:
            raise RecipeError(
                f"{out} exists: give another --out, or --resume to go on with the search"
            )
        if file.read_text("utf-8") != content:
            raise RecipeError(
                f"{out} was begun with other recipes ({file}); resume with the same options, or "
                "give another --out"
            )
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise RecipeError(f"{out} exists and is no search: give another --out")
    else:
        atomic_text(file, content)


def _search(
    dataset: Path,
    plan: list[Trial],
    out: Path,
    outcomes: "_Outcomes",
    cpus: int,
    concurrency: int | None,
    group_pattern: str | None,
    seeds: int,
) -> None:
    # A bad trial's traceback would be printed; its problem is told in the table.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    train = ray_tune.with_parameters(
        _train,
        dataset=dataset,
        plan=plan,
        out=out,
        stopped=outcomes.stopped,
        cpus=cpus,
        group_pattern=group_pattern,
    )
    storage = out / ".ray"
    try:
        ray_tune.Tuner(
            ray_tune.with_resources(train, {"cpu": cpus}),
            param_space={"number": ray_tune.grid_search([trial.number for trial in plan])},
            tune_config=ray_tune.TuneConfig(
                scheduler=FIFOScheduler() if seeds > 1 else Halving(plan),
                max_concurrent_trials=concurrency,
                # A process of its own for each: it ends with its memory and its threads.
                reuse_actors=False,
            ),
            run_config=ray_tune.RunConfig(
                storage_path=str(storage),
                failure_config=ray_tune.FailureConfig(max_failures=_RETRIES),
                callbacks=[outcomes],
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _train(
    config: dict[str, int],
    dataset: Path,
    plan: list[Trial],
    out: Path,
    stopped: set[int],
    cpus: int,
    group_pattern: str | None,
) -> None:
    """Be a trial, in a process of Ray's."""
    number = config["number"]
    run = _run(out, number)

    def report(row: Epoch) -> None:
        ray_tune.report(asdict(row) | {"loss_or_worst": or_worst(row.val_loss)})

    for row in run.read_history():
        report(row)
    if run.finished or number in stopped:
        return
    limit_threads(cpus)
    from happysad.training.train import train

    try:
        train(
            dataset,
            plan[number].recipe,
            run.path,
            resume=True,
            group_pattern=group_pattern,
            on_epoch=report,
        )
    except HappysadError as error:
        # Trying again would not help.
        ray_tune.report({"problem": str(error)})


def _run(out: Path, number: int) -> Run:
    return Run(out / f"{number:03}")


class _Outcomes(ray_tune.Callback):  # type: ignore[misc]
    """Follows the trials, and keeps trials.csv and the plot."""

    def __init__(
        self,
        out: Path,
        plan: list[Trial],
        on_epoch: Callable[[Trial, Epoch, int], None],
        on_trial: Callable[[Trial, Outcome, int], None],
    ) -> None:
        self.out, self.plan, self.on_epoch, self.on_trial = out, plan, on_epoch, on_trial
        self.table = out / "trials.csv"
        self.states: dict[int, tuple[str, str | None]] = {}
        self.stopped: set[int] = set()
        if self.table.is_file():
            with self.table.open(encoding="utf-8", newline="") as file:
                self.stopped = {
                    int(row["run"]) for row in csv.DictReader(file) if row["state"] == "stopped"
                }

    def __getstate__(self) -> dict[str, Any]:
        # Ray keeps a copy of all that it is given; nothing is ever made from it.
        return {}

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if "problem" not in result:
            row = Epoch(**{name: result[name] for name in Epoch.__dataclass_fields__})
            self.on_epoch(self.plan[trial.config["number"]], row, len(self.plan))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        number = trial.config["number"]
        if problem := trial.last_result.get("problem"):
            self._end(number, "failed", problem)
        else:
            self._end(number, "finished" if _run(self.out, number).finished else "stopped")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        lines = str(trial.get_error() or "its process was lost").strip().splitlines()
        self._end(trial.config["number"], "failed", lines[-1])

    def _end(self, number: int, state: str, problem: str | None = None) -> None:
        self.states[number] = state, problem
        if state == "stopped":
            # Whoever lets the run go on has it made again.
            _run(self.out, number).crops.unlink(missing_ok=True)
        outcomes = self.ended()
        write_table(self.table, self.plan, outcomes)
        self.on_trial(self.plan[number], outcomes[number], len(self.plan))

    def ended(self) -> list[Outcome]:
        """How each trial has ended, or stands."""
        return [self._outcome(trial) for trial in self.plan]

    def _outcome(self, trial: Trial) -> Outcome:
        run = _run(self.out, trial.number)
        state, problem = self.states.get(trial.number, ("", None))
        if not state and trial.number in self.stopped:
            state = "stopped"
        history = run.read_history()
        last = [row for row in history if row.stage == history[-1].stage]
        best = min(last, key=lambda row: or_worst(row.val_loss), default=None)
        if best and state == "finished" and not math.isfinite(best.val_loss):
            state = "failed"
            problem = "the validation loss is not a number; is the learning rate too high?"
        return Outcome(
            run=run.path,
            seed=trial.recipe.seed,
            state=state,
            epochs=len(history),
            val_loss=best.val_loss if best and math.isfinite(best.val_loss) else None,
            val_accuracy=best.val_accuracy if best else None,
            problem=problem,
        )


def _best_toml(best: Ranked, tried: int) -> str:
    """Write a recipe under a line that says what it came to."""
    if not (best.val_loss and best.val_accuracy):
        return recipe_toml(best.recipe)
    return (
        f"# The best of {tried} recipes, by {best.finished} trainings of it: validation log loss "
        f"{best.val_loss.mean:.4f}, accuracy {best.val_accuracy.mean:.4f}.\n\n"
        f"{recipe_toml(best.recipe)}"
    )
