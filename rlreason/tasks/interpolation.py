"""What similarity alone achieves on a task: three interpolators fitted on training problems and asked a level's.

The control beside a model's score: where these fail and a model does not, the model does more than copy what is near.
They see a prompt as a one-hot vector of its words at their places, and predict the answer word by word, each place of
it on its own; no derivation, no parsing. An answer counts only whole. Where every training answer is one integer, the
kernel predicts the number itself, rounded, which is its best chance. scikit-learn is imported when scores are asked
for; records, reports and commands are elsewhere.

Source: the three controls of arXiv 2603.17019; features, sizes and the choice per word are ours.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rlreason.tasks.contract import Task
from rlreason.tasks.sampling import sample
from rlreason.types import Problem

NEIGHBOURS = 5
HIDDEN = 128
"""Units of the multilayer perceptron's one hidden layer."""
MAX_EPOCHS = 100
RIDGE = 1e-3
"""Weight of the kernel's penalty: small, so that it passes close to every training answer."""
_WORD = re.compile(r"\w+|[^\w\s]")
_INTEGER = re.compile(r"-?[0-9]{1,15}")

Predict = Callable[[Any, np.ndarray, Any, int], np.ndarray]
"""Features of training [N, F] (sparse), their answers [N, A] (words), features of what is asked [M, F], seed ->
answers [M, A]."""


def interpolate(
    trained: Sequence[Problem], asked: Sequence[Problem], methods: Sequence[str], seed: int = 0
) -> dict[str, list[str]]:
    """What interpolators that are fitted on problems answer to others.

    Args:
        methods: of `METHODS`.
        seed: of the perceptron's first weights and batches.
    Returns:
        Method -> the answer to each problem asked, its words between single spaces.
    """
    from sklearn.preprocessing import OneHotEncoder
    from threadpoolctl import threadpool_limits

    prompts = _table([_WORD.findall(problem.prompt) for problem in trained])
    encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32).fit(prompts)
    known = encoder.transform(prompts)
    unknown = encoder.transform(_table([_WORD.findall(problem.prompt) for problem in asked], prompts.shape[1]))
    answers = _table([problem.answer.split() for problem in trained])
    # sums in one order whatever the number of cores; several threads also slow each other down on a busy machine
    with threadpool_limits(1), warnings.catch_warnings():
        # that many answers occur once, and that the perceptron might go on: controls of fixed size, not to be perfected
        warnings.simplefilter("ignore", UserWarning)
        predicted = {name: METHODS[name](known, answers, unknown, seed) for name in methods}
    return {name: [" ".join(filter(None, row)) for row in rows.tolist()] for name, rows in predicted.items()}


def is_right(problem: Problem, answer: str) -> bool:
    """Whether an interpolator's answer is the gold one, word for word."""
    return answer.split() == problem.answer.split()


def interpolation_scores(
    task: Task,
    level: str,
    cells: Sequence[str],
    train_problems: int = 2000,
    problems: int = 256,
    seed: int = 0,
) -> dict[str, float]:
    """Share of a level's problems that each interpolator answers right.

    Args:
        cells: names; training problems and those asked are drawn from them in turn, without repeats.
        train_problems: most problems of level "train" to fit on. Fewer where the cells have fewer.
        problems: most problems of `level` to ask.
        seed: of the perceptron's first weights and batches.
    Returns:
        "nearest" (k-nearest neighbours, k = 5, a vote for each word), "kernel" (kernel ridge regression with a Gaussian
        kernel) and "mlp" (a multilayer perceptron), each in [0, 1].
    Raises:
        TaskError: no cells, or one has no problems at this level.
    """
    trained, asked = sample(task, "train", cells, train_problems), sample(task, level, cells, problems)
    return {
        name: sum(map(is_right, asked, answers)) / len(asked)
        for name, answers in interpolate(trained, asked, tuple(METHODS), seed).items()
    }


def _table(rows: Sequence[Sequence[str]], width: int | None = None) -> np.ndarray:
    """[rows, width] words, padded with "", cut at the width (None: the longest row)."""
    columns = max(map(len, rows)) if width is None else width
    return np.array([[*row[:columns], *[""] * (columns - len(row))] for row in rows], dtype=str)


def _nearest(known: Any, answers: np.ndarray, unknown: Any, seed: int) -> np.ndarray:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(n_neighbors=min(NEIGHBOURS, len(answers)))
    targets = answers if answers.shape[1] > 1 else answers.ravel()  # scikit-learn wants one column flat
    return np.asarray(model.fit(known, targets).predict(unknown)).reshape(-1, answers.shape[1])


def _kernel(known: Any, answers: np.ndarray, unknown: Any, seed: int) -> np.ndarray:
    from sklearn.kernel_ridge import KernelRidge

    # two prompts that differ in one word are 2 apart (squared); those that differ everywhere are similar by exp(-2)
    words = known.sum() / known.shape[0]
    model = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=1.0 / words)
    if answers.shape[1] == 1 and all(_INTEGER.fullmatch(answer) for answer in answers[:, 0]):
        numbers = answers[:, 0].astype(float)
        predicted = model.fit(known, numbers - numbers.mean()).predict(unknown) + numbers.mean()
        return np.array([[str(round(number))] for number in predicted.tolist()])
    places, targets = _one_hot(answers)
    return _most_likely(model.fit(known, targets).predict(unknown), places)


def _mlp(known: Any, answers: np.ndarray, unknown: Any, seed: int) -> np.ndarray:
    from sklearn.neural_network import MLPClassifier

    places, targets = _one_hot(answers)
    model = MLPClassifier(hidden_layer_sizes=(HIDDEN,), max_iter=MAX_EPOCHS, random_state=seed)
    return _most_likely(model.fit(known, targets).predict_proba(unknown), places)


def _one_hot(answers: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Words that occur at each place of the answers, and the answers as [N, all of them] zeros and ones."""
    places = [np.unique(column) for column in answers.T]
    targets = np.hstack([column[:, None] == words for column, words in zip(answers.T, places, strict=True)])
    return places, targets.astype(np.int64)


def _most_likely(scores: np.ndarray, places: Sequence[np.ndarray]) -> np.ndarray:
    """The word of the highest score at each place: [M, A] from [M, words of all places]."""
    ends = np.cumsum([len(words) for words in places])
    parts = np.split(scores, ends[:-1], axis=1)
    return np.stack([words[part.argmax(axis=1)] for words, part in zip(places, parts, strict=True)], axis=1)


METHODS: Mapping[str, Predict] = {"nearest": _nearest, "kernel": _kernel, "mlp": _mlp}
"""The interpolators by name."""
