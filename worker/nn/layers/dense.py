"""Dense: y = f(x W^T + b)."""

from __future__ import annotations

import numpy as np

from singlepoint.jobs.spec.network import Dense
from singlepoint.worker.nn.arrays import Array, Compact

from .activations import ACTIVATIONS
from .base import Kernel, LayerPlan, Moment, Parameter, Place, Setting, Tensors, default_initialiser
from .products import RowProduct


def plan(layer: Dense, place: Place) -> LayerPlan:
    place.need_rank(1, "(features,)", 'put a layer of type "flatten" before it')
    inputs, units = place.input_shape[0], layer.units
    initialiser = layer.initialiser or default_initialiser(layer.activation)
    weight = Parameter("weight", (units, inputs), initialiser, inputs, units, axes=(0, 1), l1=layer.l1, l2=layer.l2)
    bias = Parameter("bias", (units,), layer.bias_initialiser, inputs, units, axes=(0,))
    return place.plan((units,), floats_per_row=3 * units + inputs, parameters=(weight, bias))


class DenseKernel(Kernel):
    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        layer, memory = plan.layer, setting.memory
        assert isinstance(layer, Dense)
        self.w, self.b = tensors.parameters["weight"], tensors.parameters["bias"]
        self.product = None
        if setting.training:
            self.y = memory.array((setting.rows, layer.units))
        else:
            self.product = RowProduct(plan.index, setting.rows, self.w, self.b, memory, setting.product)
            self.y = self.product.y
        self.activation = ACTIVATIONS[layer.activation](self.y, memory, setting.training)
        if setting.training:
            self.dw, self.db = tensors.gradients["weight"], tensors.gradients["bias"]
            self.ones = memory.ones((setting.rows,))
        self.dx = memory.array((setting.rows, *plan.input_shape)) if setting.input_gradient else self.y

    def prepare(self) -> None:
        if self.product:
            self.product.prepare()

    def forward(self, x: Array | Compact, moment: Moment | None) -> Array:
        """See `Kernel`. x may be compact in training, where most of a text's columns are 0 in a whole batch."""
        if self.product:
            assert not isinstance(x, Compact)
            self.product(x)
            self.activation.forward()
            return self.y
        self.x = x
        if isinstance(x, Compact):
            np.dot(x.values, self.w[:, x.columns].T, out=self.y)
            np.add(self.y, self.b, out=self.y)
        else:
            np.dot(x, self.w.T, out=self.y)
            np.add(self.y, self.b, out=self.y)
        self.activation.forward()
        return self.y

    def backward(self, dy: Array) -> Array:
        self.activation.backward(dy)
        if isinstance(self.x, Compact):
            self.dw[...] = 0
            self.dw[:, self.x.columns] = np.dot(dy.T, self.x.values)
        else:
            np.dot(dy.T, self.x, out=self.dw)
        np.dot(self.ones, dy, out=self.db)
        if self.dx is not self.y:
            np.dot(dy, self.w, out=self.dx)
        return self.dx
