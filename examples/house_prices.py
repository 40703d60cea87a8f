"""House prices from area and rooms: an MLP 2-16-8-1, every layer of it a 1x1 convolution.

Shows a whole regression on plain tensors: rows, a network, the training loop, and predictions
beside the actual prices of houses that the network has not seen. On real tables use
``PointwiseRegressor``, which encodes columns, scales the target and holds rows out by itself.

Run: python examples/house_prices.py
"""

import torch

from pointwise.nn import MLP
from pointwise.training import Rows, Settings, SquaredError, train


def main() -> None:
    torch.manual_seed(0)
    houses = torch.rand(1000, 2)  # area and rooms, both scaled to lie from 0 to 1
    prices = 500_000 * houses[:, :1] + 100_000 * houses[:, 1:]  # (N, 1)

    learn, valid, test = houses.split([700, 150, 150])
    learn_prices, valid_prices, test_prices = prices.split([700, 150, 150])
    mean, spread = learn_prices.mean(), learn_prices.std()  # networks learn numbers near 1

    network = MLP([2, 16, 8, 1])
    for layer in network.layers:
        print(layer)

    epochs = train(
        network,
        SquaredError(members=1),
        Rows(learn, (learn_prices - mean) / spread),
        Rows(valid, (valid_prices - mean) / spread),
        Settings(batch_size=32, learning_rate=1e-2, max_epochs=60),
    )
    for epoch in epochs:  # the network trains while the loop asks for epochs
        if epoch.epoch % 10 == 0:
            print(f"epoch {epoch.epoch}: validation loss {epoch.valid_loss:.2g}")

    with torch.no_grad():
        predicted = network(test) * spread + mean

    print(f"\n{'area':>6} {'rooms':>6} {'actual':>10} {'predicted':>10}")
    for (area, rooms), actual, guess in zip(
        test[:5].tolist(), test_prices[:5, 0].tolist(), predicted[:5, 0].tolist(), strict=True
    ):
        print(f"{area:6.2f} {rooms:6.2f} {actual:10,.0f} {guess:10,.0f}")

    rmse = (predicted - test_prices).square().mean().sqrt()
    share = rmse / test_prices.std()
    print(f"\nRMSE on held-out houses: {rmse:,.0f}, {100 * share:.3f} % of the standard deviation")


if __name__ == "__main__":
    main()
