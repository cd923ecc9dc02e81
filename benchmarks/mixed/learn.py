"""A script of scikit-learn as people write it: `learn.py WHAT SIZE TIMES [DONE]`. It knows nothing of any queue.

TIMES: on how many sets, one after another.  DONE: a file to be made at its end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

what, size, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
models = {
    "forest": lambda: RandomForestClassifier(n_estimators=60, random_state=1),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=40, random_state=1),
    "logistic": lambda: LogisticRegression(max_iter=2000, tol=1e-10),
    "vectors": lambda: SVC(C=10, random_state=1),
    "clusters": lambda: KMeans(40, n_init=12, random_state=1),
    "network": lambda: MLPClassifier((64, 64), max_iter=25, tol=0, random_state=1),
}
for number in range(size, size + times):
    x, y = make_classification(n_samples=2000 * size, n_features=40, n_informative=20, n_classes=4, random_state=number)
    model = models[what]().fit(x, y)
    print(what, size, float(model.score(x, y)))
for done in sys.argv[4:]:
    Path(done).touch()
