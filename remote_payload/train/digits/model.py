"""The network: two convolutions, one pooling, two dropouts, two full layers (1.2 million weights)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Net(nn.Module):
    """Takes count x 1 x 28 x 28, gives the logarithm of the probability of each digit, count x 10."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.conv1(images))  # 26 x 26
        x = functional.relu(self.conv2(x))  # 24 x 24
        x = self.dropout1(functional.max_pool2d(x, 2))  # 12 x 12
        x = functional.relu(self.fc1(x.flatten(1)))
        return functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)
