"""ResNet-50 up to its third stage, with the names of weights that torchvision and timm share.

Source: He 2016 (doi:10.1109/CVPR.2016.90), with the stride in the 3 x 3 convolution as all published weights have it.
The mean of the third stage, 1,024 features, is what CLAM (doi:10.1038/s41551-020-00682-w) takes of a tile.
"""

import torch
from torch import Tensor, nn

_STAGES = ((64, 3), (128, 4), (256, 6))
_WIDER = 4


class _Bottleneck(nn.Module):
    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        after = width * _WIDER
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + beside)


class ResNet50Stage3(nn.Module):
    """Features (tile, 1024) of tiles (tile, rgb, row, column), normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64)
        before = 64
        for number, (width, depth) in enumerate(_STAGES, start=1):
            strides = [1 if number == 1 else 2] + [1] * (depth - 1)
            blocks = []
            for stride in strides:
                blocks.append(_Bottleneck(before, width, stride))
                before = width * _WIDER
            setattr(self, f"layer{number}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Features (tile, 1024) of `x` (tile, rgb, row, column)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3))
