"""Hyperparameter search on Ray Tune.

Each trial is an ordinary run directory. All state of a search is in these and in its files
``search.json`` and ``trials.csv``: a resumed search reports to Ray again what each trial has
reached, and unfinished trials continue from their checkpoints.
"""

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

# Disable Ray's log files for each result and its handler of Ctrl-C.
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
# Without this, Ray prints even at verbosity 0.
os.environ["RAY_AIR_NEW_OUTPUT"] = "0"

from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from happysad.cores import cores
from happysad.dataset.scan import check_outside, scan
from happysad.errors import HappysadError, RecipeError
from happysad.files import atomic_text
from happysad.training.checkpoint import Epoch
from happysad.training.recipe import Recipe, recipe_toml
from happysad.tuning.chart import plot_search
from happysad.tuning.outcomes import Outcomes, trial_run
from happysad.tuning.ranking import Outcome, RankedRecipe, Trial, finite, rank
from happysad.tuning.space import Vary, recipes

_RETRIES: Final = 2
"""Times that a trial continues after its process or node was lost."""

_RUNG: Final = 33
"""Percentage of its epochs after which a trial may be stopped; earlier is the warm-up."""

_REDUCTION: Final = 3
"""A trial continues if it is in the best third of those that have come as far."""


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    Attributes:
        recipes: Best first.
        best: The file of the best recipe.
    """

    recipes: list[RankedRecipe]
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
    exclude: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Trial, Epoch, int], None] = lambda trial, row, total: None,
    on_trial: Callable[[Trial, Outcome, int], None] = lambda trial, outcome, total: None,
) -> SearchResult:
    """Search for the recipe with the lowest validation loss.

    Trials are stopped early by asynchronous successive halving (Li et al. 2020, "A System for
    Massively Parallel Hyperparameter Tuning"). With several seeds of each recipe, which are
    averaged and whose losses are of different splits, all trials are finished.

    Args:
        dataset: A folder with ``happy/`` and ``sad/``. On a cluster it and ``out`` must have the
            same path on every node.
        base: The recipe to vary.
        varied: What varies.
        out: A new folder for run directories ``000``, ``001``, …, ``trials.csv``, ``trials.png``
            and ``best.toml``.
        trials: Number of recipes, see `recipes`.
        seeds: Trials of each recipe, with its seed, the next, and so on.
        cpus: CPUs of each trial.
        concurrency: Maximum number of trials at once; default: as many as there are CPUs for.
        address: See `happysad.ray_session.connect`.
        group_pattern: See `happysad.training.train.train`.
        exclude: Likewise; on a cluster with the same path on every node.
        resume: Continue the search in ``out``, if there is one.
        on_epoch: Called with each epoch of each trial, and the number of trials.
        on_trial: Called with each trial that ended, and the number of trials.

    Raises:
        RecipeError: See `recipes`; or ``out`` holds another search.
        DatasetError: The dataset cannot be used for training.
        HappysadError: The cluster cannot be reached, or no trial was finished.
    """
    dataset, out = dataset.resolve(), out.resolve()
    # Ray changes the working directory.
    exclude = exclude and exclude.resolve()
    plan = _plan(base, recipes(base, varied, trials), seeds)
    # Fail early on a dataset that would fail every trial.
    check_outside(dataset, out)
    scan(dataset, group_pattern=group_pattern, others=base.others, exclude=exclude)
    _begin(out, plan, dataset, group_pattern, exclude, resume)
    outcomes = Outcomes(out, plan, on_epoch, on_trial)
    with connect(address, max(cores(), cpus)):
        _search(dataset, plan, out, outcomes, cpus, concurrency, group_pattern, exclude, seeds)
    ended = outcomes.ended()
    ranked = rank(plan, ended, seeds)
    if not any(recipe.finished for recipe in ranked):
        problem = next(outcome.problem for outcome in ended if outcome.problem)
        raise HappysadError(f"{out}: no trial was finished; the first error: {problem}")
    best = out / "best.toml"
    atomic_text(best, _best_toml(ranked[0], len(ranked)))
    plot_search(ranked, out / "trials.png")
    return SearchResult(ranked, best)


def _plan(base: Recipe, tried: Sequence[tuple[dict[str, Any], Recipe]], seeds: int) -> list[Trial]:
    each = [
        (values, replace(recipe, seed=recipe.seed + seed, weights=_weights(recipe)))
        for values, recipe in tried
        for seed in range(seeds)
    ]
    return [Trial(number, *trial) for number, trial in enumerate(each)]


def _weights(recipe: Recipe) -> str:
    """Return a recipe's weights, a file as an absolute path: Ray changes the working directory."""
    path = Path(recipe.weights)
    if recipe.weights in ("none", "imagenet", "happysad") or not path.is_file():
        return recipe.weights
    return str(path.resolve())


def _begin(
    out: Path,
    plan: list[Trial],
    dataset: Path,
    group_pattern: str | None,
    exclude: Path | None,
    resume: bool,
) -> None:
    """Start a search in the folder, or check that the one to resume is the same."""
    file = out / "search.json"
    search = {
        "dataset": str(dataset),
        "group_pattern": group_pattern,
        "exclude": exclude and str(exclude),
        "trials": [asdict(trial) for trial in plan],
    }
    content = json.dumps(search, indent=1)
    if file.is_file():
        if not resume:
            raise RecipeError(
                f"{out}: holds a search; give another --out, or continue with --resume"
            )
        if file.read_text("utf-8") != content:
            raise RecipeError(
                f"{out}: holds a search of other recipes or of another dataset ({file}); resume "
                "with the same arguments, or give another --out"
            )
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise RecipeError(f"{out}: exists and is not a search; give another --out")
    else:
        atomic_text(file, content)


def _search(
    dataset: Path,
    plan: list[Trial],
    out: Path,
    outcomes: Outcomes,
    cpus: int,
    concurrency: int | None,
    group_pattern: str | None,
    exclude: Path | None,
    seeds: int,
) -> None:
    # Tracebacks of failed trials would be printed; the table states their problems.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    train = ray_tune.with_parameters(
        _train,
        dataset=dataset,
        plan=plan,
        out=out,
        stopped=outcomes.stopped,
        cpus=cpus,
        group_pattern=group_pattern,
        exclude=exclude,
    )
    storage = out / ".ray"
    try:
        ray_tune.Tuner(
            ray_tune.with_resources(train, {"cpu": cpus}),
            param_space={"number": ray_tune.grid_search([trial.number for trial in plan])},
            tune_config=ray_tune.TuneConfig(
                scheduler=_scheduler(plan, seeds),
                max_concurrent_trials=concurrency,
                # A process for each trial, whose memory and threads end with it.
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


def _scheduler(plan: list[Trial], seeds: int) -> TrialScheduler:
    if seeds > 1 or min(map(_epochs, plan)) == 1:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="percent",
        metric="finite_val_loss",
        mode="min",
        grace_period=_RUNG,
        reduction_factor=_REDUCTION,
        # No further rung: a trial must not be stopped at its last epoch, before its model is saved.
        max_t=_REDUCTION * _RUNG - 1,
        stop_last_trials=False,
    )


def _epochs(trial: Trial) -> int:
    return sum(stage.epochs for stage in trial.recipe.stages)


def _train(
    config: dict[str, int],
    dataset: Path,
    plan: list[Trial],
    out: Path,
    stopped: set[int],
    cpus: int,
    group_pattern: str | None,
    exclude: Path | None,
) -> None:
    """Run a trial, in a process of Ray's."""
    number = config["number"]
    run = trial_run(out, number)

    def report(row: Epoch) -> None:
        percent = 100 * row.epoch // _epochs(plan[number])
        ray_tune.report(asdict(row) | {"percent": percent, "finite_val_loss": finite(row.val_loss)})

    for row in run.read_history():
        report(row)
    if run.finished or number in stopped:
        return
    # TensorFlow reads these when it is imported.
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(cpus)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from happysad.training.train import train

    try:
        train(
            dataset,
            plan[number].recipe,
            run.path,
            resume=True,
            group_pattern=group_pattern,
            exclude=exclude,
            on_epoch=report,
        )
    except HappysadError as error:
        # Reported rather than raised: a retry would fail as well. Ray requires all three values.
        ray_tune.report({"problem": str(error), "percent": 0, "finite_val_loss": finite(math.nan)})


def _best_toml(best: RankedRecipe, tried: int) -> str:
    """Return the recipe as TOML, with a comment on its validation metrics."""
    if not (best.val_loss and best.val_accuracy):
        return recipe_toml(best.recipe)
    return (
        f"# The best of {tried} recipes. Validation log loss {best.val_loss.mean:.4f}, accuracy "
        f"{best.val_accuracy.mean:.4f}, over {best.finished} trainings.\n\n"
        f"{recipe_toml(best.recipe)}"
    )
