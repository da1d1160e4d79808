"""The training loop of a textbook, which geoseg is measured against.

A DataLoader reads one file per sample and epoch; training is eager float32 with Adam. The models
are written as the original project describes them, one operation after the other. `load` gives such
a model the weights of geoseg's model; both then give the same logits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from train.experiments import Experiment


class PatchFiles(Dataset[tuple[Tensor, Tensor]]):
    """Patches and labels in files, augmented one by one."""

    def __init__(self, root: Path, experiment: Experiment) -> None:
        self.images = sorted((root / "train" / "images").glob("*.npy"))
        self.experiment = experiment
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path = self.images[index]
        image = np.nan_to_num(np.load(path))
        label = np.load(path.parent.parent / "labels" / path.name).astype(np.float32)
        if self.experiment.roll:
            shift = self.random.integers(36)
            image, label = np.roll(image, shift, 1), np.roll(label, shift, 1)
        if self.experiment.flip:
            for axis in (0, 1):
                if self.random.random() < 0.5:
                    image, label = np.flip(image, axis), np.flip(label, axis)
        return torch.from_numpy(image.copy())[None], torch.from_numpy(label.copy())[None]


class Vanilla(nn.Sequential):
    """The vanilla convolution stack."""

    def __init__(self) -> None:
        channels = [1, 64, 64, 128, 128]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(128, 1, 3, padding=1))


class Stacked(nn.Sequential):
    """The stacked convolutions, circular in azimuth and replicating in depth."""

    def __init__(self, width: int = 256) -> None:
        channels = [1, width, width, width, width, 1]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [
                nn.Conv2d(before, after, (1, 3), padding=(0, 1), padding_mode="circular"),
                nn.Conv2d(after, after, (5, 1), padding=(2, 0), padding_mode="replicate"),
                nn.LeakyReLU(),
            ]
        super().__init__(*layers[:-1])


class UNet(nn.Module):
    """The U-Net: keep one sample of four, upsample bilinearly, concatenate skips."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(1, width, 3, padding=1)
        self.down2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.bottleneck = nn.Conv2d(2 * width, 3 * width, 3, padding=1)
        self.up1 = nn.Conv2d(3 * width, width, 3, padding=1)
        self.up2 = nn.Conv2d(5 * width, 2 * width, 3, padding=1)
        self.head = nn.Conv2d(width + 1, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the shape of `image`, (B, 1, Z, A)."""
        fine = F.leaky_relu(self.down1(image))
        middle = F.leaky_relu(self.down2(fine[..., ::2, ::2]))
        coarse = F.leaky_relu(self.bottleneck(middle[..., ::2, ::2]))
        x = torch.cat((_upsample(coarse, middle), middle), 1)
        x = F.leaky_relu(self.up2(x))
        x = F.leaky_relu(self.up1(torch.cat((_upsample(x, fine), fine), 1)))
        return self.head(torch.cat((x, image), 1))


class FlexibleUNet(nn.Module):
    """The flexible U-Net: the pipe repeated three times, replicated edges, cropped at the end."""

    def __init__(self, width: int = 16, depths: Sequence[int] = (2, 1, 1)) -> None:
        super().__init__()
        widths = [width << i for i in range(len(depths) + 1)]
        pairs = list(enumerate(depths))
        self.encoders = nn.ModuleList(
            self._stage([1 if i == 0 else widths[i - 1]] + [widths[i]] * n) for i, n in pairs
        )
        self.bottleneck = self._stage(widths[-2:])
        self.decoders = nn.ModuleList(
            self._stage([fine + coarse] * n + [fine])
            for (fine, coarse), n in zip(pairwise(widths), reversed(depths), strict=True)
        )
        self.head = nn.Conv2d(width, 1, 1)

    @staticmethod
    def _stage(channels: Sequence[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for pair in pairwise(channels):
            layers += [nn.Conv2d(*pair, 3, padding=1, padding_mode="replicate"), nn.LeakyReLU()]
        return nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits of the shape of `image`, (B, 1, Z, A)."""
        rows, columns = image.shape[-2:]
        x, skips = F.pad(image.repeat(1, 1, 1, 3), (2, 2, 2, 2), mode="replicate"), []
        for encoder in self.encoders:
            skips.append(encoder(x))
            x = skips[-1][..., ::2, ::2]
        x = self.bottleneck(x)
        for skip, decoder in zip(reversed(skips), reversed(self.decoders), strict=True):
            x = decoder(torch.cat((_upsample(x, skip), skip), 1))
        return self.head(x)[..., 2 : rows + 2, columns + 2 : 2 * columns + 2]


class RingUNet(nn.Module):
    """The ring U-Net: pool in depth only, dilate round the pipe, add skips."""

    def __init__(self, widths: Sequence[int] = (24, 48, 96, 96), layers: int = 2) -> None:
        super().__init__()
        befores = [2, *widths[:-1]]
        self.encoders = nn.ModuleList(
            self._stage([before] + [width] * layers)
            for before, width in zip(befores, widths, strict=True)
        )
        self.decoders = nn.ModuleList(self._stage([width] * (layers + 1)) for width in widths[:-1])
        self.narrow = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[0], 1, 1)

    @staticmethod
    def _stage(channels: Sequence[int]) -> nn.ModuleList:
        return nn.ModuleList(nn.Conv2d(*pair, 3) for pair in pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, 1, Z, A) of inputs (B, 2, Z, A)."""
        skips, step = [], max(1, round(int(x.shape[-1]) / 36))  # columns in 10 degrees
        for scale, encoder in enumerate(self.encoders):
            if scale:
                x = F.avg_pool2d(x, (2, 1), ceil_mode=True, count_include_pad=False)
            x = self._run(encoder, x, step * 2**scale)
            skips.append(x)
        for scale in reversed(range(len(self.decoders))):
            x = self.narrow[scale](x).repeat_interleave(2, -2)[..., : skips[scale].shape[-2], :]
            x = self._run(self.decoders[scale], skips[scale] + x, step * 2**scale)
        return self.head(x)

    @staticmethod
    def _run(stage: nn.Module, x: Tensor, reach: int) -> Tensor:
        for layer in stage.children():
            x = F.pad(
                F.pad(x, (reach, reach, 0, 0), mode="circular"), (0, 0, 1, 1), mode="replicate"
            )
            x = F.leaky_relu(F.conv2d(x, layer.weight, layer.bias, dilation=(1, reach)))
        return x


def _upsample(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


MODELS: dict[str, type[nn.Module]] = {
    "vanilla": Vanilla,
    "unet": UNet,
    "stacked": Stacked,
    "flexible_unet": FlexibleUNet,
    "ring_unet": RingUNet,
}


def load(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """Give a model of MODELS the weights of geoseg's model; both have the same order."""
    names = list(model.state_dict())
    model.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return model


class Loop:
    """The textbook loop for one experiment on the files of `root`."""

    def __init__(self, experiment: Experiment, root: Path, device: torch.device) -> None:
        self.device = device
        workers = 0 if device.type == "cpu" else 4  # on two cores workers only compete
        self.loader = DataLoader(
            PatchFiles(root, experiment),
            experiment.batch,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            drop_last=True,
        )
        torch.manual_seed(0)
        self.model = MODELS[experiment.architecture]().to(device)
        self.loss = nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), experiment.learning_rate)
        self._batches = self._repeat_loader()

    def _repeat_loader(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader

    def run(self, steps: int) -> None:
        """Take `steps` steps."""
        torch.backends.cudnn.deterministic = False  # PyTorch's default
        for _ in range(steps):
            images, labels = next(self._batches)
            logits = self.model(images.to(self.device))
            loss = self.loss(logits, labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()  # as a progress bar would read it
