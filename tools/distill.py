"""Distil four large-input teachers into the bundled network's weights, on one GPU with PyTorch.

    python tools/distill.py FACES.npz OUT.npz

FACES.npz holds `crops`, uint8 [N, 48, 48], grey; `shares`, float32 [N, 3], the shares of people
who call the face sad, happy, neither; `validation`, bool [N]. `--faces DATA` makes it from what
tools/release_data.py laid out:

    python tools/distill.py --faces build/release/data FACES.npz

All networks start from the bundled weights. Teachers take 160 or 192 pixels; the students take 128
and learn 0.7 of the teachers' mean prediction and 0.3 of the votes for each augmented crop (Hinton
et al. 2015, "Distilling the Knowledge in a Neural Network"). The mean of the students' weights
goes to OUT.npz. On an H200, four teachers of nine epochs and two students of ten took five and a
half minutes. To make it the bundled weights, from which `make release-model` goes on:

    cp OUT.npz src/happysad/models/happysad-weights.npz
    python -c "from happysad.released import write_sums; write_sums()"

The network and the augmentation are those of happysad.training, written for PyTorch: an epoch there
takes two to five seconds, with Keras on the same GPU 45, as its loop and augmentation run on CPUs.
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own convention

from happysad.released import FOLDER, WEIGHTS

SIZE: Final = 128
TEACHERS: Final = (160, 192, 160, 192)
TEACHER_EPOCHS: Final = 9
STUDENT_EPOCHS: Final = 10
TEACHER_WEIGHT: Final = 0.7
BATCH: Final = 128
LEARNING_RATE: Final = 7e-4
WARMUP: Final = 0.3
WEIGHT_DECAY: Final = 0.02
AVERAGING: Final = 0.997
# Expansion, channels, repetitions, stride: Sandler et al. 2018, table 2.
BLOCKS: Final = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
# The luminance table of the JPEG standard, ITU-T T.81, annex K.
JPEG: Final = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip

Weights = list[np.ndarray[Any, Any]]


class Conv(nn.Module):  # type: ignore[misc]
    """Convolution, batch normalization and ReLU6, with Keras's padding."""

    def __init__(self, ins: int, outs: int, side: int, stride: int = 1, **how: Any) -> None:
        super().__init__()
        self.stride, self.relu = stride, how.get("relu", True)
        padding = side // 2 if stride == 1 else 0
        groups = ins if how.get("depthwise") else 1
        self.conv = nn.Conv2d(ins, outs, side, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outs, eps=1e-3, momentum=0.1)

    def forward(self, x: Any) -> Any:
        """Apply it to ``[B, C, H, W]``."""
        x = self.norm(self.conv(F.pad(x, (0, 1, 0, 1)) if self.stride == 2 else x))
        return F.relu6(x) if self.relu else x


class Block(nn.Module):  # type: ignore[misc]
    """An inverted residual."""

    def __init__(self, ins: int, outs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = ins * expansion
        self.residual = stride == 1 and ins == outs
        self.body = nn.Sequential(
            *([Conv(ins, wide, 1)] if expansion > 1 else []),
            Conv(wide, wide, 3, stride, depthwise=True),
            Conv(wide, outs, 1, relu=False),
        )

    def forward(self, x: Any) -> Any:
        """Apply it to ``[B, C, H, W]``."""
        return x + self.body(x) if self.residual else self.body(x)


class Network(nn.Module):  # type: ignore[misc]
    """The network of `happysad.training.network`, from grey crops 0–255 to three logits."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        layers: list[Any] = [Conv(3, 32, 3, 2)]
        ins = 32
        for expansion, outs, count, stride in BLOCKS:
            for number in range(count):
                layers.append(Block(ins, outs, 1 if number else stride, expansion))
                ins = outs
        self.features = nn.Sequential(*layers, Conv(320, 1280, 1))
        self.dense, self.dropout, self.logit = (
            nn.Linear(1280, 128), nn.Dropout(0.3), nn.Linear(128, 3),
        )  # fmt: skip
        with torch.no_grad():
            for (tensor, order), array in zip(self.state(), weights, strict=True):
                tensor.copy_(torch.from_numpy(array.astype(np.float32).transpose(order)))

    def forward(self, x: Any) -> Any:
        """Return ``float32 [B, 3]`` for ``[B, 1, H, W]``."""
        x = (x / 127.5 - 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.features(x).mean((2, 3))
        return self.logit(self.dropout(F.relu(self.dense(x)))).float()

    def state(self) -> Iterator[tuple[Any, tuple[int, ...]]]:
        """Yield tensors in Keras's order, each with the axes of Keras's array."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                yield module.weight, (2, 3, 0, 1) if module.groups > 1 else (3, 2, 0, 1)
            elif isinstance(module, nn.BatchNorm2d):
                for tensor in (
                    module.weight, module.bias, module.running_mean, module.running_var
                ):  # fmt: skip
                    yield tensor, (0,)
            elif isinstance(module, nn.Linear):
                yield module.weight, (1, 0)
                yield module.bias, (0,)

    def to_keras(self) -> Weights:
        """Return the weights as Keras has them."""
        return [t.detach().cpu().numpy().transpose(np.argsort(order)) for t, order in self.state()]


def resize(crops: Any, size: int) -> Any:
    """Resize grey crops ``[B, 1, H, W]``; pixels stay whole numbers."""
    return F.interpolate(crops.float(), size=(size, size), mode="bilinear").round()


def augment(crops: Any, size: int) -> Any:
    """Augment grey crops ``[B, 1, H, W]`` as recipes/release.toml does, to ``[B, 1, size, size]``.

    What a recipe does to an image with a probability is done to that share of each batch.
    """
    n, device = len(crops), crops.device

    def uniform(low: float, high: float, *shape: int) -> Any:
        return torch.rand(*shape, device=device) * (high - low) + low

    def some() -> Any:
        return torch.randperm(n, device=device)[: max(1, round(0.15 * n))]

    x = resize(crops, size)
    angle, zoom = uniform(-20, 20, n) * math.pi / 180, 1 / uniform(0.8, 1.2, n)
    flip = torch.where(uniform(0, 1, n) < 0.5, -1.0, 1.0)
    shift = uniform(-0.16, 0.16, 2, n)
    rows = (
        torch.stack([flip * zoom * angle.cos(), -zoom * angle.sin(), shift[0]], 1),
        torch.stack([flip * zoom * angle.sin(), zoom * angle.cos(), shift[1]], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    gain, offset = uniform(0.6, 1.4, n, 1, 1, 1), uniform(-51, 51, n, 1, 1, 1)
    x = ((x - 127.5) * gain + 127.5 + offset).clamp(0, 255)

    chosen = some()
    sides = size * uniform(0.2, 0.6, len(chosen), 2, 1)
    starts = size * uniform(0, 1, len(chosen), 2, 1) - sides / 2
    at = torch.arange(size, device=device)
    inside = (at >= starts) & (at < starts + sides)
    covered = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
    x = x.index_copy(
        0, chosen, torch.where(covered, uniform(0, 255, len(chosen), 1, 1, 1), x[chosen])
    )

    chosen = some()
    sigma = size / 96 * uniform(0.4, 1.6, len(chosen), 1)
    reach = int(size / 96 * 1.6 * 3) + 1
    kernel = torch.exp(-((torch.arange(-reach, reach + 1, device=device) / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True))[:, None, None]
    y = F.pad(x[chosen].transpose(0, 1), (reach,) * 4, mode="reflect")
    y = F.conv2d(y, kernel, groups=len(chosen))
    y = F.conv2d(y, kernel.transpose(2, 3), groups=len(chosen))
    x = x.index_copy(0, chosen, y.transpose(0, 1))

    for chosen in some().chunk(3):
        side = max(8, int(size * np.random.uniform(0.2, 0.6)))
        small = F.interpolate(x[chosen], size=(side, side), mode="area")
        x = x.index_copy(0, chosen, F.interpolate(small, size=(size, size), mode="bilinear"))

    chosen = some()
    noise = torch.randn(len(chosen), 1, size, size, device=device)
    noise = noise * uniform(3, 25, len(chosen), 1, 1, 1)
    x = x.index_copy(0, chosen, (x[chosen] + noise).clamp(0, 255))
    chosen = some()
    return x.index_copy(0, chosen, _jpeg(x[chosen], uniform(15, 75, len(chosen)))).round()


def _jpeg(x: Any, quality: Any) -> Any:
    """Quantise ``[B, 1, H, W]`` as JPEG does."""
    n, _, height, width = x.shape
    index = torch.arange(8, device=x.device)
    cosines = torch.cos((2 * index[None] + 1) * index[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[:, None, None]
    table = (torch.tensor(JPEG, device=x.device) * scale).round().clamp(1, 255)[:, None, None]
    blocks = (x - 128).reshape(n, height // 8, 8, width // 8, 8).transpose(2, 3)
    waves = (cosines @ blocks @ cosines.T / table).round() * table
    blocks = (cosines.T @ waves @ cosines).transpose(2, 3)
    return (blocks.reshape(x.shape) + 128).clamp(0, 255)


def train(
    crops: Any, shares: Any, size: int, epochs: int, teachers: Sequence[tuple[Network, int]] = ()
) -> Weights:
    """Train from the bundled weights; return the averaged weights.

    Args:
        crops: ``uint8 [N, 1, 48, 48]``, on the GPU.
        shares: ``float32 [N, 3]``.
        size: Side of the crops that the network takes, pixels.
        epochs: Number of epochs.
        teachers: Networks and their input sizes.
    """
    network = Network(bundled()).cuda().to(memory_format=torch.channels_last).train()
    state = [tensor.detach() for tensor, _ in network.state()]
    average, initial = ([tensor.clone() for tensor in state] for _ in range(2))
    rate = torch.zeros((), device="cuda")
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, weight_decay=WEIGHT_DECAY, fused=True, capturable=True
    )
    batch = resize(crops[:BATCH], size)
    targets = torch.zeros(BATCH, 3, device="cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            logits = network(batch)
        (-(targets * logits.log_softmax(1)).sum(1).mean()).backward()
        optimizer.step()

    # One CUDA graph for a step: hundreds of kernels this small would wait for Python.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    torch._foreach_copy_(state, initial)
    for values in optimizer.state.values():
        for value in values.values():
            value.zero_()

    steps = len(crops) // BATCH
    for number in range(epochs * steps):
        if number % steps == 0:
            order = torch.randperm(len(crops), device="cuda")
        chosen = order[number % steps * BATCH :][:BATCH]
        rate.fill_(learning_rate(number / steps, epochs))
        with torch.no_grad():
            batch.copy_(augment(crops[chosen], size))
            targets.copy_(shares[chosen])
            if teachers:
                targets.mul_(1 - TEACHER_WEIGHT)
                targets.add_(predict(teachers, batch), alpha=TEACHER_WEIGHT)
        graph.replay()
        torch._foreach_lerp_(average, state, 1 - min(AVERAGING, (1 + number) / (10 + number)))
    torch._foreach_copy_(state, average)
    weights: Weights = network.to_keras()
    return weights


def learning_rate(at: float, epochs: int) -> float:
    """Return the learning rate at a time in epochs: warm-up, then cosine decay."""
    if at < WARMUP:
        return LEARNING_RATE * (at + 0.01) / (WARMUP + 0.01)
    done = (at - WARMUP) / (epochs - WARMUP)
    return LEARNING_RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@torch.no_grad()  # type: ignore[untyped-decorator]
def predict(networks: Sequence[tuple[Network, int]], crops: Any) -> Any:
    """Return the mean prediction of networks with their input sizes, ``[B, 3]``."""
    with torch.autocast("cuda", torch.bfloat16):
        outputs = [
            network(F.interpolate(crops, size=(size, size), mode="bilinear")).softmax(1)
            for network, size in networks
        ]
    return torch.stack(outputs).mean(0)


def loss(networks: Sequence[tuple[Network, int]], crops: Any, shares: Any, size: int) -> float:
    """Return the log loss of the networks' mean prediction against the shares."""
    outputs = torch.cat([predict(networks, resize(part, size)) for part in crops.split(512)])
    return float(-(shares * outputs.clamp_min(1e-7).log()).sum(1).mean())


def bundled() -> Weights:
    """Return the bundled weights."""
    with np.load(FOLDER / WEIGHTS) as file:
        return [file[name] for name in file.files]


def write_faces(data: Path, out: Path) -> None:
    """Write FACES.npz from tools/release_data.py's folder."""
    from happysad.dataset.load import load
    from happysad.dataset.split import split

    dataset = load(data / "training", 48, others=True)
    grey = np.ascontiguousarray(dataset.crops[..., 0])
    np.savez(out, crops=grey, shares=dataset.shares, validation=split(dataset, 0.1, seed=0))


def main() -> None:
    """Train teachers, then students; write the mean of the students' weights."""
    if sys.argv[1] == "--faces":
        write_faces(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    if not torch.cuda.is_available():
        sys.exit("no GPU: PyTorch finds no CUDA device")
    torch.backends.cudnn.benchmark = True
    with np.load(sys.argv[1]) as file:
        crops = torch.from_numpy(file["crops"])[:, None].cuda()
        shares = torch.from_numpy(file["shares"]).cuda()
        held_back = torch.from_numpy(file["validation"]).cuda()
    data = crops[~held_back], shares[~held_back]
    start = time.perf_counter()

    def report(name: str, networks: Sequence[tuple[Network, int]]) -> None:
        value = loss(networks, crops[held_back], shares[held_back], SIZE)
        print(f"{time.perf_counter() - start:.0f} s: {name}: val loss {value:.4f}", flush=True)

    def network(weights: Weights) -> Network:
        made: Network = Network(weights).cuda().to(memory_format=torch.channels_last).eval()
        return made

    teachers: list[tuple[Network, int]] = []
    for seed, size in enumerate(TEACHERS, start=10):
        _seed(seed)
        teachers.append((network(train(*data, size, TEACHER_EPOCHS)), size))
        report(f"mean of {len(teachers)} teachers", teachers)
    students = []
    for seed in range(2):
        _seed(seed)
        students.append(train(*data, SIZE, STUDENT_EPOCHS, teachers))
        report(f"student {seed}", [(network(students[-1]), SIZE)])
    mean = [np.mean(arrays, axis=0) for arrays in zip(*students, strict=True)]
    report("mean of the students' weights", [(network(mean), SIZE)])
    arrays = {f"{i:03}": array.astype(np.float16) for i, array in enumerate(mean)}
    np.savez_compressed(sys.argv[2], **arrays)


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)


if __name__ == "__main__":
    main()
