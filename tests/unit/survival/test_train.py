import numpy as np
import pytest
import torch
from unit.survival.people import make_patients, training

from histoweave.errors import InputError
from histoweave.survival.bags import AttentionPooling, BatchSource, FeatureScale, GatedAttention
from histoweave.survival.interface import Context
from histoweave.survival.losses import cox_loss
from histoweave.survival.train import batches, chunked_backward, outputs_of, train_network

CONTEXT = Context(1, ("model", "0", "0"))


class Tiny(torch.nn.Module):
    def __init__(self, features=6, dropout=0.0):
        super().__init__()
        torch.manual_seed(3)
        encode = torch.nn.Sequential(torch.nn.Linear(features, 8), torch.nn.ReLU(), torch.nn.Dropout(dropout))
        self.pool = AttentionPooling(encode, GatedAttention(8, 4, dropout=0.0))
        self.out = torch.nn.Linear(8, 1)

    def forward(self, batch):
        return {"risk": self.out(self.pool(batch.tiles, batch.mask)[0])[:, 0]}


def loss(outputs, targets):
    return cox_loss(outputs["risk"], targets.time_days, targets.event, ties="efron")


def sources(n=80, seed=0):
    patients = make_patients(n, seed=seed)
    parts = patients.subset(range(n * 3 // 4)), patients.subset(range(n * 3 // 4, n))
    scale = FeatureScale.fitted(parts[0].bags, clip=5.0)
    return [BatchSource(part, scale=scale, vectors={}, device="cpu") for part in parts]


@pytest.mark.parametrize("memory", [1, 30, 97])
def test_gradient_does_not_depend_on_what_fits_in_memory(memory):
    train, _ = sources()
    gradients = []
    for tiles_in_memory in (10**6, memory):
        model = Tiny()
        settings = training(tiles_in_memory=tiles_in_memory)
        chunked_backward(model, train, np.arange(40), loss, settings, np.random.default_rng(0))
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)


def test_chunks_see_the_same_dropout_in_both_passes():
    train, _ = sources()
    model = Tiny(dropout=0.5).train()
    settings = training(tiles_in_memory=30)
    value, outputs = chunked_backward(model, train, np.arange(40), loss, settings, np.random.default_rng(0))
    again = chunked_backward(Tiny(dropout=0.5).train(), train, np.arange(40), loss, settings, np.random.default_rng(0))
    assert value == again[0]
    torch.testing.assert_close(outputs["risk"], again[1]["risk"])


def test_learns_and_ends_with_the_best_epoch():
    train, validation = sources(160)
    model = Tiny()
    history = train_network(model, train, validation, loss=loss, settings=training(epochs=40), context=CONTEXT)
    losses = {r["epoch"]: r["value"] for r in history if r["part"] == "validation" and r["quantity"] == "loss"}
    outputs = outputs_of(model, validation, training())
    assert float(loss(outputs, validation.targets(range(40)))) == pytest.approx(min(losses.values()), rel=1e-5)
    assert min(losses.values()) < losses[1] - 0.1
    assert max(r["value"] for r in history if r["quantity"] == "c_index") > 0.65


def test_same_seed_same_weights_other_seed_others():
    def weights(seed):
        model = Tiny(dropout=0.3)
        train_network(model, *sources(), loss=loss, settings=training(epochs=3), context=Context(seed, ("m", "0", "0")))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_patience_stops():
    settings = training(epochs=50, patience=2, learning_rate=0.3)
    history = train_network(Tiny(), *sources(), loss=loss, settings=settings, context=CONTEXT)
    assert max(r["epoch"] for r in history) < 50


def test_last_takes_the_last_epoch():
    train, validation = sources()
    model = Tiny()
    settings = training(epochs=4, selection="last", learning_rate=0.1)
    history = train_network(model, train, validation, loss=loss, settings=settings, context=CONTEXT)
    last = [r["value"] for r in history if r["part"] == "validation" and r["quantity"] == "loss"][-1]
    value = float(loss(outputs_of(model, validation, settings), validation.targets(range(len(validation)))))
    assert value == pytest.approx(last, rel=1e-5)


def test_hooks_are_called_and_noted():
    seen = []
    history = train_network(
        Tiny(), *sources(), loss=loss, settings=training(epochs=2), context=CONTEXT,
        before_step=lambda optimizer, outputs, targets: {"rho": float(len(targets))},
        monitor=lambda outputs, targets: {"spread": float(outputs["risk"].std())},
        after_epoch=lambda epoch, history: seen.append(epoch),
    )  # fmt: skip
    assert seen == [1, 2]
    assert [r["value"] for r in history if r["quantity"] == "rho"] == [30.0, 30.0]
    assert sum(r["quantity"] == "spread" and r["part"] == "validation" for r in history) == 2


def test_balanced_batches_share_the_events():
    event = (np.arange(100) < 13).astype(int)
    made = batches(event, training(batch_patients=20), np.random.default_rng(0))
    assert sorted(np.concatenate(made)) == list(range(100))
    assert {int(event[part].sum()) for part in made} <= {2, 3}
    assert {len(part) for part in made} == {20}


@pytest.mark.parametrize("stop_after", [1, 3])
def test_resumes_bit_for_bit(tmp_path, stop_after):
    def weights(folder, *, killed):
        model = Tiny(dropout=0.3)
        context = Context(1, ("m", "0", "0"), checkpoint_dir=folder)

        def kill(epoch, history):
            if killed and epoch == stop_after:
                raise KeyboardInterrupt

        history = train_network(
            model, *sources(), loss=loss, settings=training(epochs=6), context=context, after_epoch=kill
        )
        return torch.cat([p.detach().flatten() for p in model.parameters()]), history

    whole, history = weights(None, killed=False)
    with pytest.raises(KeyboardInterrupt):
        weights(tmp_path, killed=True)
    again, resumed = weights(tmp_path, killed=False)
    assert torch.equal(whole, again)
    assert resumed == history


def test_nobody_with_an_event_is_refused():
    train, validation = sources()
    train.event[:] = 0
    with pytest.raises(InputError, match="none of the 60 training patients had an event"):
        train_network(Tiny(), train, validation, loss=loss, settings=training(), context=CONTEXT)


def test_an_inner_validation_part_without_events_is_refused_where_it_picks_the_epoch():
    train, validation = sources()
    validation.event[:] = 0
    shared = {"loss": loss, "context": CONTEXT}
    with pytest.raises(InputError, match=r"model/0/0: none of the 20 patients of the inner validation part"):
        train_network(Tiny(), train, validation, settings=training(), **shared)
    assert train_network(Tiny(), train, validation, settings=training(epochs=2, selection="last"), **shared)


def test_a_loss_that_explodes_is_named():
    def broken(outputs, targets):
        return loss(outputs, targets) * float("nan")

    with pytest.raises(InputError, match="the loss is not finite in epoch 1"):
        train_network(Tiny(), *sources(), loss=broken, settings=training(clip_gradient=0.0), context=CONTEXT)
