"""Metrics by closed form (a shifted Gaussian) and by direction (a collapsed generator)."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_drawings import mapped, sketched

from tedi.attributes import COLUMNS, GROUPS, log_softmax
from tedi.errors import TediError, UsageError
from tedi.grammar import ATTRIBUTES, Caption
from tedi.losses.perceptual import distance
from tedi.metrics import METRICS, Drawn, Edited, Inverted, Metric, Score, prompts, report
from tedi.metrics.accuracy import AllNamedRight, AttributeAccuracy, agreement, seen
from tedi.metrics.diversity import Diversity, spread
from tedi.metrics.drawings import Mapped, Sketched
from tedi.metrics.edits import OthersUnchanged, TargetReached
from tedi.metrics.frechet import Frechet, frechet
from tedi.metrics.retrieval import RPrecision, chances, r_precision
from tedi.metrics.score import estimate
from tedi.metrics.text import measure, seeds_of
from tedi.metrics.video import Filmed

SMILING = {"gender": frozenset({"female"}), "smile": frozenset({"slight", "broad"})}
F = 6


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.double)


def face(**values):
    """Log-probabilities (V,) of a face that surely has these values, else each group's first."""
    background = values.pop("background", ())
    sure = {g: vs[0] for g, vs in GROUPS.items()} | values
    sure |= {f"background {word}": True for word in background}
    return log_softmax(torch.tensor([9.0 * (sure[g] == v) for g, v in COLUMNS]))


def drawn(says, log_p, *, seeds=1, **changes):
    """A sample of prompts that say this, with `seeds` pictures each."""
    T, N = len(says), len(log_p)
    values = {
        "captions": [Caption(f"prompt {i}", each, {}) for i, each in enumerate(says)],
        "owners": torch.arange(T).repeat_interleave(seeds),
        "log_p": log_p,
        "features": random(N, F),
        "distances": torch.rand(T, generator=generator()) + 0.1,
        "free_features": random(N, F, seed=1),
        "free_distances": torch.rand(T, generator=generator(1)) + 0.1,
        "similarity": random(T, N),
        "judge": "a judge",
        "encoder": "an encoder",
    }
    return Drawn(**values | changes)


def crowd(T=30, seeds=2, seed=0, **changes):
    """Random faces that were asked for a smiling woman."""
    N = T * seeds
    log_p = log_softmax(random(N, len(COLUMNS), seed=seed))
    return drawn([SMILING] * T, log_p, seeds=seeds, **changes)


def edited(T=3, seeds=2, wants=None, moved=False):
    before = torch.stack([face()] * T * seeds)
    wishes = [wants or {"smile": frozenset({"broad"})}] * T * seeds
    owners = torch.arange(T).repeat_interleave(seeds)
    return Edited(
        wishes,
        owners,
        before,
        before.clone(),
        moves=[{"age": 1}] * T * seeds if moved else [],
        cosines=0.8 + 0.1 * random(T * seeds).tanh(),
        distances=random(T * seeds).exp(),
        free_cosines=random(T).tanh() / 2,
        free_distances=random(T).exp(),
        judge="a judge",
    )


def inverted() -> Inverted:
    """Photos whose smiles are read off their codes."""
    random = torch.Generator().manual_seed(0)
    names = ("mse", "psnr", "ssim", "perceptual", "identity", "w_distance", "p_norm")
    names += ("editability", "edited_identity", "seconds", "memory")
    looked = dict.fromkeys(("perceptual", "identity", "editability"), "a network")
    smiles = torch.rand(40, generator=random)
    return Inverted(
        {name: torch.rand(40, generator=random) for name in names},
        networks=looked,
        same=0.6,
        truth={"smile": smiles},
        scores={"smile": smiles + 0.3 * torch.rand(40, generator=random)},
        judge="a judge",
        reader="a reader",
    )


def filmed():
    """Three seconds of eight frames each."""
    random = torch.Generator().manual_seed(0)
    names = ("person", "picture", "jitter", "flicker", "outside")
    series = {name: torch.rand(24, generator=random) for name in names}
    return Filmed(series, torch.arange(24) // 8, dict.fromkeys(names, "a network"))


SAMPLES = {
    Drawn: crowd,
    Filmed: filmed,
    Edited: functools.partial(edited, moved=True),
    Inverted: inverted,
    Mapped: mapped,
    Sketched: sketched,
}


# --- every metric --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_contract(name):
    metric = METRICS[name]()
    assert isinstance(metric, Metric)
    for declared in ("name", "compares", "reference"):
        assert len(getattr(metric, declared)) > 5
    sample = SAMPLES[metric.takes]()
    scores = metric(sample)
    assert scores == metric(sample)  # seeded
    names = [score.name for score in scores]
    assert names[0] == metric.name
    assert all(part.startswith(f"{metric.name}: ") for part in names[1:])
    assert len(set(names)) == len(names)
    for score in scores:
        assert isinstance(score, Score)
        assert score.low <= score.value <= score.high
        assert score.n > 0
        assert score.network.startswith("a")
        assert (score.higher_is_better, score.reference) == (
            metric.higher_is_better,
            metric.reference,
        )
        assert not score.rate or 0 <= score.low <= score.high <= 1


def test_a_sample_is_measured_by_the_metrics_that_take_it():
    scores, left_out = measure(crowd())
    assert {s.name for s in scores} >= {"attribute accuracy", "diversity", "Fréchet distance"}
    assert left_out == {}
    scores, left_out = measure(crowd(similarity=None, distances=torch.full((30,), math.nan)))
    assert set(left_out) == {"diversity", "r-precision"}
    assert "--seeds" in left_out["diversity"]
    scores, left_out = measure(edited())
    assert {s.name for s in scores} >= {"target reached", "others unchanged", "log-odds gained"}
    assert left_out == {"steps-moved": "edits: none is relative"}


# --- intervals -----------------------------------------------------------------------------------


def shares(clusters, seeds, seed, *, spread=0.0):
    """Right answers of clusters whose own chance lies around 0.6."""
    chance = (0.6 + spread * random(clusters, seed=seed)).clamp(0, 1)
    right = torch.rand(clusters, seeds, generator=generator(seed + 1), dtype=torch.double)
    return (right < chance[:, None]).double().sum(dim=1)


def test_intervals_shrink_with_n():
    widths = []
    for clusters in (25, 100, 400):
        value, low, high = estimate(shares(clusters, 4, 0), torch.full((clusters,), 4), rate=True)
        assert low < value < high
        widths.append(high - low)
    assert 1.5 < widths[0] / widths[1] < 2.7
    assert 1.5 < widths[1] / widths[2] < 2.7


def test_intervals_cover():
    """Pictures of a prompt are alike; intervals that took them for independent would miss."""
    trials, clusters, seeds = 200, 40, 8
    covered = wrongly = 0
    for trial in range(trials):
        sums = shares(clusters, seeds, 2 * trial, spread=0.2)
        _, low, high = estimate(sums, torch.full((clusters,), seeds), rounds=400)
        covered += low <= 0.6 <= high
        value = float(sums.sum() / clusters / seeds)
        width = 1.96 * (value * (1 - value) / clusters / seeds) ** 0.5
        wrongly += abs(value - 0.6) <= width
    assert 0.9 <= covered / trials <= 0.99
    assert wrongly < covered - 10


@pytest.mark.parametrize(("right", "value"), [(4, 1.0), (0, 0.0)])
def test_an_interval_of_all_right_or_all_wrong_is_the_exact_one(right, value):
    sums, counts = torch.full((10,), right), torch.full((10,), 4)
    found = estimate(sums, counts, rate=True)
    far = 0.025 ** (1 / 10)  # all ten right has a chance of 2.5 % at this share
    assert found == pytest.approx((1, far, 1) if value else (0, 0, 1 - far))


def test_one_cluster_has_no_interval_and_none_no_value():
    value, low, high = estimate(torch.tensor([3.0]), torch.tensor([4]))
    assert value == 0.75
    assert math.isnan(low)
    assert math.isnan(high)
    with pytest.raises(UsageError, match="at least one"):
        estimate(torch.zeros(2), torch.zeros(2))


def test_clusters_weigh_by_what_they_count():
    value, _, _ = estimate(torch.tensor([1.0, 0.0, 5.0]), torch.tensor([1, 3, 0]))
    assert value == 0.25


# --- attributes ----------------------------------------------------------------------------------


def test_a_named_attribute_is_right_if_the_likeliest_value_was_said():
    says = [SMILING, {"background": frozenset({"blue", "plain"})}]
    right = agreement(
        torch.stack([face(smile="broad", gender="male"), face(background=["blue"])]), says
    )
    wrong = [{a for a, ok in zip(ATTRIBUTES, row, strict=True) if not ok} for row in right.tolist()]
    assert wrong == [{"gender"}, {"background"}]
    assert agreement(face(background=["blue", "plain", "sky"])[None], says[1:]).all()


def test_accuracy_counts_named_attributes_only():
    log_p = torch.stack(
        [
            *(face(gender="female", smile="none"), face(gender="female", smile="slight")),
            *(face(hat=True), face(hat=False)),
        ]
    )
    sample = drawn(
        [SMILING, {"hat": frozenset({True})}], log_p, seeds=2, accuracy={"smile": 0.9, "pose": 0.8}
    )
    scores = {score.name: score for score in AttributeAccuracy()(sample)}
    assert {name: (s.value, s.n) for name, s in scores.items()} == {
        "attribute accuracy": (4 / 6, 6),
        "attribute accuracy: gender": (1.0, 2),
        "attribute accuracy: smile": (0.5, 2),
        "attribute accuracy: hat": (0.5, 2),
    }
    assert scores["attribute accuracy: smile"].details == {"prompts": 1, "judge": 0.9}
    assert scores["attribute accuracy"].details == {"prompts": 2}
    told = {score.name: (score.value, score.n) for score in AllNamedRight()(sample)}
    assert told == {
        "all named right": (0.5, 4),
        "all named right: 1 named": (0.5, 2),
        "all named right: 2 named": (0.5, 2),
    }


def test_bins_of_named_attributes():
    everything = {a: frozenset(values) for a, values in ATTRIBUTES.items() if a != "background"}
    says = [dict(list(everything.items())[:count]) for count in (1, 2, 3, 4, 5, 17)]
    scores = AllNamedRight()(drawn(says, torch.stack([face()] * 6)))
    assert {score.name.partition(": ")[2]: score.n for score in scores} == {
        **{"": 6, "1 named": 1, "2 named": 1, "3-4 named": 2, "5+ named": 2}
    }
    assert {score.value for score in scores} == {1.0}


def test_a_permuted_judge_is_right_by_chance():
    """What is seen of other pictures agrees as often as values are common."""
    T = 900
    values = [ATTRIBUTES["skin"][i % 3] for i in range(T)]
    says = [{"skin": frozenset({value})} for value in values]
    log_p = torch.stack([face(skin=value) for value in values])
    assert AttributeAccuracy()(drawn(says, log_p))[0].value == 1
    order = torch.randperm(T, generator=generator())
    score = AttributeAccuracy()(drawn(says, log_p[order]))[0]
    assert score.low < 1 / 3 < score.high


def test_prompts_are_resampled_not_pictures():
    """Eight pictures that agree tell no more than one."""
    log_p = torch.stack([face(smile="broad" if i % 2 else "none") for i in range(40)])
    says = [{"smile": frozenset({"broad"})}] * 40
    one = AttributeAccuracy()(drawn(says, log_p))[0]
    eight = AttributeAccuracy()(drawn(says, log_p.repeat_interleave(8, dim=0), seeds=8))[0]
    assert (eight.n, eight.low, eight.high) == (8 * one.n, one.low, one.high)


def test_prompts_that_say_nothing_cannot_be_judged():
    sample = drawn([{}, {}], torch.stack([face()] * 2))
    for metric in (AttributeAccuracy(), AllNamedRight()):
        with pytest.raises(UsageError, match="says: expected"):
            metric(sample)


def test_what_is_seen():
    (found,) = seen(face(age="old", hat=True, background=["sky"])[None])
    assert found.keys() == ATTRIBUTES.keys()
    assert (found["age"], found["hat"], found["background"]) == ("old", True, ["sky"])


# --- diversity -----------------------------------------------------------------------------------


def maps(n, seed=0):
    return [random(n, 5, 8, 8, seed=seed), random(n, 7, 4, 4, seed=seed + 1)]


def test_perceptual_distance_by_closed_form():
    a = torch.zeros(1, 2, 3, 3)
    a[:, 0] = 2
    b, opposite, half = a.flip(1), -a, a.clone()
    half[:, :, 0] = b[:, :, 0]
    assert distance([a], [b]).item() == pytest.approx(2)  # orthogonal
    assert distance([a], [opposite]).item() == pytest.approx(4)
    assert distance([a], [5 * a]).item() == pytest.approx(0)
    assert distance([a], [half]).item() == pytest.approx(2 / 3)
    assert distance([a, a], [b, a]).item() == pytest.approx(1)  # the mean over layers
    left, right = maps(3), maps(3, seed=5)
    both = distance(left, right)
    torch.testing.assert_close(both, distance(right, left))
    one = distance([m[1:2] for m in left], [m[1:2] for m in right])
    torch.testing.assert_close(both[1:2], one)


def test_spread_is_the_mean_over_pairs():
    pictures = [maps(1, seed=i) for i in range(0, 6, 2)]
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = sum(distance(pictures[i], pictures[j]).item() for i, j in pairs) / 3
    assert spread(pictures) == pytest.approx(expected)
    assert math.isnan(spread(pictures[:1]))
    assert spread([pictures[0]] * 3) == 0


def test_a_collapsed_generator_lowers_diversity():
    """Prompts that leave a half, or nothing, of the seeds' variety."""
    free = torch.tensor([spread([maps(1, seed=9 * i + j) for j in range(3)]) for i in range(8)])
    values = []
    for left in (1.0, 0.3, 0.0):
        kept = [
            spread([[m + left * (n - m) for m, n in zip(maps(1), maps(1, 9 * i + j), strict=True)]
                    for j in range(3)])
            for i in range(8)
        ]  # fmt: skip
        sample = drawn(
            [SMILING] * 8,
            torch.stack([face()] * 24),
            seeds=3,
            distances=torch.tensor(kept),
            free_distances=free,
        )
        values.append(Diversity()(sample)[0].value)
    assert values == sorted(values, reverse=True)
    assert values[0] == pytest.approx(1)
    assert values[1] < 0.8
    assert values[2] == 0


def test_diversity_is_a_ratio_of_means():
    sample = crowd(2, distances=torch.tensor([1.0, 2.0]), free_distances=torch.tensor([2.0, 4.0]))
    (score,) = Diversity()(sample)
    assert (score.value, score.low, score.high) == (0.5, 0.5, 0.5)
    assert score.details["unconditional distance"] == 3


# --- Fréchet -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 200], ids=["few pictures", "many"])
def test_frechet_of_a_shifted_crowd_is_the_square_of_the_shift(n):
    a, shift = random(n, F), random(F, seed=3)
    assert frechet(a, a + shift) == pytest.approx(float(shift.square().sum()))
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_of_a_stretched_crowd():
    """(k − 1)² tr Σ for equal means, and |√σa − √σb|² along common axes."""
    a = random(300, F)
    a = a - a.mean(dim=0)
    assert frechet(a, 3 * a) == pytest.approx(4 * float(torch.cov(a.T).trace()))
    axes = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0], dtype=torch.double)
    white = a @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(a.T))).T
    assert frechet(white, white * axes) == pytest.approx(float((axes - 1).square().sum()))


def test_frechet_both_ways_agree():
    """Singular values for few pictures, eigenvalues for many; padding pushes to the former."""
    a, b = random(40, F), random(30, F, seed=1) @ random(F, F, seed=2)
    wide = torch.zeros(1, 100 - F, dtype=torch.double)
    padded = [torch.cat([x, wide.expand(len(x), -1)], dim=1) for x in (a, b)]
    assert frechet(*padded) == pytest.approx(frechet(a, b))
    assert frechet(a, b) == pytest.approx(frechet(b, a))


def test_frechet_says_how_low_it_can_be():
    same = crowd(300, features=random(600, F), free_features=random(600, F, seed=1))
    (score,) = Frechet(rounds=20)(same)
    assert "warning" not in score.details
    assert score.details["floor's n"] == 300
    at_floor = score.details["value at floor's n"]
    assert at_floor == pytest.approx(score.details["floor"], abs=0.1)
    assert score.value < at_floor  # it falls with n, for equal crowds too
    far = dataclasses.replace(same, features=same.features + 1)
    moved = Frechet(rounds=20)(far)[0]
    assert moved.value == pytest.approx(score.value + F, rel=0.1)
    assert moved.low > score.high


def test_frechet_warns_of_few_pictures():
    (score,) = Frechet(rounds=2)(crowd(2, features=random(4, F), free_features=random(4, F)))
    assert score.details["warning"].startswith("4 pictures for 6 features")
    assert score.value == pytest.approx(0, abs=1e-6)
    with pytest.raises(UsageError, match="four or more"):
        Frechet()(crowd(1))


# --- R-precision ---------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(1, 3), st.integers(2, 9), st.integers(0, 99))
def test_r_precision_is_the_mean_over_draws(texts, seeds, among, seed):
    """Against all draws of rivals, ties broken every way alike."""
    from itertools import combinations

    levels = torch.randint(0, 4, (texts, texts * seeds), generator=generator(seed)).double()
    owners = torch.arange(texts).repeat_interleave(seeds)
    found = chances(levels, owners, among=among)
    for code, text in enumerate(owners.tolist()):
        others = levels[text, owners != text].tolist()
        mine, chance = float(levels[text, code]), []
        for rivals in combinations(others, min(among - 1, len(others))):
            best = max(rivals) <= mine
            chance.append(best / (1 + sum(rival == mine for rival in rivals)))
        assert float(found[code]) == pytest.approx(sum(chance) / len(chance))


def test_r_precision_of_a_perfect_and_of_a_permuted_space():
    n = 400
    similarity = random(n, n)
    assert r_precision(similarity + 100 * torch.eye(n)) == 1
    assert r_precision(similarity - 100 * torch.eye(n)) == 0
    assert r_precision(torch.zeros(n, n)) == pytest.approx(1 / 100)
    assert r_precision(similarity) == pytest.approx(1 / 100, abs=0.01)
    owners = torch.arange(n)
    fits = 3 * (owners[:, None] == owners).double() + similarity
    whole = drawn([SMILING] * n, torch.stack([face()] * n), similarity=fits)
    (score,) = RPrecision()(whole)
    order = torch.randperm(n, generator=generator(4))
    (permuted,) = RPrecision()(dataclasses.replace(whole, similarity=fits[:, order]))
    assert score.low > 0.5
    assert permuted.value < 0.03
    assert permuted.details == {"prompts": n, "among": 100, "chance": 0.01}
    assert (score.network, score.n) == ("an encoder", n)


def test_own_codes_are_no_rivals():
    """Two codes of a text, the second worse than the first: both are found."""
    similarity = torch.tensor([[9.0, 5.0, 1.0, 1.0], [0.0, 0.0, 5.0, 9.0]])
    owners = torch.tensor([0, 0, 1, 1])
    assert chances(similarity, owners).tolist() == [1, 1, 1, 1]


# --- edits ---------------------------------------------------------------------------------------


def test_target_reached_and_others_unchanged():
    sample = edited()
    after = sample.after.clone()
    after[:3] = face(smile="broad")
    after[3] = face(smile="broad", gender="male", background=["blue"])
    sample = dataclasses.replace(sample, after=after)
    (reached,) = TargetReached()(sample)
    assert (reached.value, reached.n, reached.details["before"]) == (4 / 6, 6, 0)
    scores = {score.name: score for score in OthersUnchanged()(sample)}
    whole = scores["others unchanged"]
    words = len(ATTRIBUTES["background"])
    assert whole.n == 6 * 17
    assert whole.value == pytest.approx(1 - (1 + 1 / words) / (6 * 17))
    assert scores["others unchanged: gender"].value == pytest.approx(5 / 6)
    assert scores["others unchanged: background"].value == pytest.approx(1 - 1 / words / 6)
    assert "others unchanged: smile" not in scores


def test_what_an_edit_brings_with_it_may_change():
    sample = edited(wants={"hair_length": frozenset({"bald"})})
    after = torch.stack([face(hair_texture="wavy")] * 6)
    sample = dataclasses.replace(sample, after=after)
    assert OthersUnchanged()(sample)[0].value < 1
    free = dataclasses.replace(sample, free=[frozenset({"hair_texture"})] * 6)
    assert OthersUnchanged()(free)[0].value == 1


# --- prompts -------------------------------------------------------------------------------------


def test_composed_prompts():
    found = prompts.composed(14)
    assert [len(caption.says) >= 1 for caption in found] == [True] * 14
    assert len({caption.text for caption in found}) == 14
    assert prompts.composed(20)[:14] == found
    assert prompts.composed(14, seed=1) != found
    assert [len(c.says) for c in prompts.composed(300)].count(6) > 30


def test_seeds_of_a_prompt_are_its_own():
    assert seeds_of("a man", range(3)) == [seeds_of("a man", [k])[0] for k in range(3)]
    assert not set(seeds_of("a man", range(9))) & set(seeds_of("a woman", range(9)))
    assert all(0 <= seed < 2**32 for seed in seeds_of("a man", [2**32 - 1]))


def test_a_file_of_prompts_that_say(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"prompt": "a  woman in a hat", "says": {"hat": [true], "gender": ["female"]}}\n\n'
        '{"prompt": "hello", "implies": {"age": ["old"]}}\n'
    )
    first, second = prompts.read(path)
    assert first == Caption(
        "a woman in a hat", {"hat": frozenset({True}), "gender": frozenset({"female"})}, {}
    )
    assert (second.says, second.implies) == ({}, {"age": frozenset({"old"})})


def test_a_plain_file_of_prompts(tmp_path):
    path = tmp_path / "p.txt"
    path.write_text("# people\na man\n\na woman\n")
    assert prompts.read(path) == [Caption("a man", {}, {}), Caption("a woman", {}, {})]


GOOD = '{"prompt": "a man", "says": {"gender": ["male"]}}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "expected a JSON object"),
        ("[1]", "prompt"),
        ('{"says": {}}', "prompt"),
        ('{"prompt": ""}', "expected words"),
        ('{"prompt": "a woman", "sais": {}}', "'sais'; did you mean 'says'"),
        ('{"prompt": "a woman", "says": []}', "says: expected attributes"),
        ('{"prompt": "a woman", "says": {"genders": ["male"]}}', "did you mean 'gender'"),
        ('{"prompt": "a woman", "says": {"gender": "male"}}', "gender: expected a list"),
        ('{"prompt": "a woman", "says": {"gender": []}}', "gender: expected a list"),
        ('{"prompt": "a woman", "says": {"gender": ["men"]}}', 'got "men"'),
        ('{"prompt": "a woman", "says": {"hat": [1]}}', "values of false, true; got 1"),
        ('{"prompt": "a woman", "says": {"hat": ["true"]}}', 'values of false, true; got "true"'),
        ('{"prompt": "a woman", "says": {"hat": [[true]]}}', "values of false, true"),
        (GOOD, "comes twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n")
    with pytest.raises(UsageError) as caught:
        prompts.read(path)
    assert str(caught.value).startswith(f"{path}, line 3: ")
    assert message in str(caught.value)


def test_files_without_prompts(tmp_path):
    path = tmp_path / "p.txt"
    with pytest.raises(TediError, match="cannot be read"):
        prompts.read(path)
    path.write_text("# none\n")
    with pytest.raises(UsageError, match="holds no prompt"):
        prompts.read(path)


# --- reports -------------------------------------------------------------------------------------


def test_the_table_lines_up():
    scores = {
        "default": measure(crowd(accuracy={"smile": 0.81}))[0],
        "other": measure(crowd(seed=3))[0],
    }
    head, *lines = report.table(scores)
    assert head.split() == ["n", "default", "95", "%", "other", "95", "%", "judge", "itself"]
    assert len({line.find("[") for line in lines if line.count("[") == 2}) <= 4
    smile = next(line for line in lines if line.startswith("  smile"))
    assert smile.split()[1] == "60"
    assert smile.endswith("81.0 %")
    assert smile.count("[") == 2
    names = [line.strip().split("  ")[0] for line in lines]
    assert names == [
        *("attribute accuracy", "gender", "smile", "all named right", "2 named"),
        *("diversity", "Fréchet distance", "R-precision"),
    ]


def test_notes_tell_of_floors_warnings_and_gaps():
    scores, _ = measure(crowd(3, features=random(6, 50), free_features=random(6, 50, seed=1)))
    text = "\n".join(report.notes({"default": scores}, {"default": {"diversity": "no seeds"}}))
    assert "unconditional ones get" in text
    assert "6 pictures for 50 features" in text
    assert "among 5, by chance 20.0 %" in text
    assert "default: diversity left out: no seeds" in text


def test_bars_are_as_long_as_their_values():
    def score(value, **details):
        return Score("all", value, value, value, 3, "", "", True, rate=True, details=details)

    picture = report.chart({"a": [score(0.25)]}, title="t", subtitle="s")
    longer = report.chart({"a": [score(0.5)]}, title="t", subtitle="s")
    blue = tuple(int(report.COLORS[0][i : i + 2], 16) for i in (1, 3, 5))

    def length(chart):
        pixels = torch.from_numpy(np.array(chart))
        return int((pixels == torch.tensor(blue)).all(dim=2).sum(dim=1).max())

    assert length(picture) == pytest.approx(0.25 * report.BARS, abs=6)
    assert length(longer) == pytest.approx(0.5 * report.BARS, abs=6)
