"""Plans of inversion: what is tried, left out and chosen, by stand-ins timed by a made-up clock."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from test_editing import maps
from test_inversion import TinyEncoder, describe, pictures
from tiny import TinyGenerator

from tedi.errors import TediError, UsageError
from tedi.generators.based import placed
from tedi.inversion import INVERTERS, Inversion, limits
from tedi.inversion.limits import Watch, free_memory
from tedi.inversion.optimize import InDomain
from tedi.inversion.plan import Planner
from tedi.inversion.programs import PROGRAMS

ENCODED, FITTED, TUNED, SPACE = (0.55, 1.0), (0.15, 0.5), (0.1, 0.3), (0.2, 0.3)
LOOKED = (0.35, 0.95)
LOOK = 0.3  # seconds of the encoder, and of the figures after steps


@dataclass(frozen=True)
class Steps:
    steps: int = 9
    finish: int = 9
    dtype: str = "float32"


class Machine:
    """A clock, and methods that take their time by it; they come to the figures that are given.

    Attributes:
        turned: radians, scale, right and down of the face; True for what W+ does not hold.
        calls: method, options and start of each call.
    """

    def __init__(self, *, slow=1.0, turned=False, **figures):
        self.now, self.calls, self.turned = 0.0, [], turned
        self.look, self.preview, self.full = LOOK * slow, 0.2 * slow, 0.7 * slow
        known = {"encoder": ENCODED, "optimize": FITTED, "fspace": SPACE, "pti": TUNED}
        known["restyle"] = LOOKED
        self.methods = {
            name: self.method(name, *figure) for name, figure in (known | figures).items()
        }

    def clock(self):
        return self.now

    def find(self, target, *, encode, draw, maps, reader):
        assert draw(encode(target)).shape == target.shape
        self.now += (4 if reader else 20) * self.preview
        pose = {False: (0, 1, 0, 0), True: (0.3, 1, 0, 0)}.get(self.turned, self.turned)
        return placed(*(torch.tensor([float(number)]) for number in pose))

    def method(self, name, identity, perceptual=None):
        machine = self

        class Method:
            if name != "encoder":
                defaults = Steps()

            def __init__(self, generator, encoder, *, maps, describe, options=None, looker=None):
                self.generator, self.options = generator, options
                assert (looker is not None) == (name == "restyle")

            def __call__(self, target, on_step=None, **more):
                machine.calls.append((name, self.options, more.get("start")))
                if isinstance(identity, Exception):
                    raise identity
                done = machine.steps(self.options, on_step) if self.options else 0
                machine.now += machine.look
                values = {"identity": identity**2, "perceptual": perceptual, "pixel": 0.1}
                figures = {key: torch.tensor([value]) for key, value in values.items()}
                ws = torch.full((1, 16, 8), float(len(machine.calls)))
                own = TinyGenerator() if name in ("fspace", "pti") else self.generator
                return Inversion(ws, own, {"figures": figures, "steps": done})

        return Method

    def steps(self, options, on_step):
        """Two descents, as `tedi.inversion.optimize` makes them."""
        done = 0
        for count, seconds in ((options.steps, self.preview), (options.finish, self.full)):
            for step in range(count + 1 if count else 0):
                if on_step(done + step, {}, torch.zeros(1, 16, 8)):
                    return done + step
                self.now += seconds if step < count else 0
            done += count
        return done


def plan(machine, *, quality="best", free=None, target=None, on_step=None, **settings):
    """What a plan comes to, and the lines it tells."""
    lines = []
    planner = Planner(
        TinyGenerator(),
        TinyEncoder(),
        maps=maps,
        describe=describe,
        quality=quality,
        tell=lines.append,
        clock=machine.clock,
        memory=lambda device: free,
        methods=machine.methods,
        find=machine.find,
        **settings,
    )
    return planner(pictures(1) if target is None else target, on_step), lines


def tried(found):
    return [one["method"] for one in found.extras["plan"]["rungs"] if "left_out" not in one]


def left_out(found):
    rungs = found.extras["plan"]["rungs"]
    return {one["method"]: one["left_out"] for one in rungs if "left_out" in one}


# --- by quality ----------------------------------------------------------------------------------


def test_fast_is_the_encoder_alone():
    found, lines = plan(Machine(encoder=(0.9, 2.0)), quality="fast")
    assert (found.extras["method"], found.extras["options"]) == ("encoder", None)
    assert tried(found) == ["encoder"]
    assert lines == [
        "encoder: identity 0.90, perceptual 2.00 (0.3 s); fast asks for no more",
    ]


LOOKER = object()


def test_fast_looks_again_where_the_encoder_is_not_near():
    """Only with an encoder that was taught to; other steps are not timed for it."""
    for budget in (None, 5.0):
        found, lines = plan(Machine(), quality="fast", budget=budget, looker=LOOKER)
        assert tried(found) == ["encoder", "restyle"]
        assert (found.extras["method"], found.extras["steps"]) == ("restyle", 2)
    assert lines == [
        "encoder: identity 0.55, perceptual 1.00 (0.3 s); identity above 0.5: "
        "going on with 2 looks of restyle (5 s of 5 s left)",
        "restyle: identity 0.35, perceptual 0.95 (0.7 s); near enough for fast: restyle is chosen",
    ]
    near, _ = plan(Machine(encoder=(0.45, 2.0)), quality="fast", looker=LOOKER)
    assert tried(near) == ["encoder"]


def test_steps_go_on_from_looks_and_are_timed_after_them():
    machine = Machine()
    found, _ = plan(machine, quality="good", budget=60.0, looker=LOOKER)
    assert tried(found) == ["encoder", "restyle", "optimize", "optimize"]
    looked = machine.calls.index(next(call for call in machine.calls if call[0] == "restyle"))
    start = machine.calls[looked + 1][2]
    assert torch.equal(start, torch.full((1, 16, 8), looked + 1.0))


def test_looks_that_end_too_late_are_left_out():
    found, _ = plan(Machine(), quality="fast", budget=0.7, looker=LOOKER)
    assert found.extras["method"] == "encoder"
    assert left_out(found)["restyle"] == "it takes 0.6 s or more, and 0.4 s are left"


def test_a_turned_face_is_looked_at_again_before_it_goes_on_to_f_w():
    found, _ = plan(Machine(turned=True), quality="good", as_found=True, looker=LOOKER)
    assert tried(found) == ["encoder", "restyle", "fspace"]
    assert found.extras["method"] == "fspace"


def test_good_ends_as_soon_as_it_is_good():
    near, lines = plan(Machine(encoder=(0.45, 0.8)), quality="good")
    assert tried(near) == ["encoder"]
    assert lines[0].endswith("; near enough for good: encoder is chosen")
    machine = Machine()
    further, lines = plan(machine, quality="good")
    assert tried(further) == ["encoder", "optimize"]
    assert further.extras["method"] == "optimize"
    assert lines == [
        "encoder: identity 0.55, perceptual 1.00 (0.3 s); identity above 0.5 and perceptual "
        "above 0.9: going on with 30 + 6 steps of optimize",
        "optimize: identity 0.15, perceptual 0.50 (10.5 s); near enough for good: optimize is "
        "chosen",
    ]
    assert machine.now == pytest.approx(LOOK + 30 * 0.2 + 6 * 0.7 + LOOK)


def test_good_goes_on_from_what_it_has():
    machine = Machine(optimize=(0.4, 0.95))
    found, lines = plan(machine, quality="good")
    assert tried(found) == ["encoder", "optimize", "optimize"]
    starts = [start for _, _, start in machine.calls]
    assert [None if s is None else s[0, 0, 0].item() for s in starts] == [None, 1, 2]
    assert found.extras["steps"] == 36  # the second is no nearer, so the first one is kept
    assert "no nearer than optimize; perceptual above 0.9, and no method is left" in lines[-1]


@pytest.mark.parametrize("aligned", [True, False])
def test_best_tunes_a_face_that_w_holds(aligned):
    machine = Machine(pti=(0.1, 0.45))
    found, lines = plan(machine, aligned=aligned)
    assert tried(found) == ["encoder", "optimize", "pti"]
    why = f"the face is {'aligned' if aligned else 'upright'}, as W+ holds them"
    assert left_out(found) == {"fspace": why}
    assert lines[1] == f"fspace: left out, {why}"
    assert (found.extras["method"], found.extras["steps"]) == ("pti", 80 + 66)
    [(_, options, start)] = machine.calls[2:]
    assert (options.steps, options.finish, start[0, 0, 0]) == (60, 6, 2)
    searched = 0 if aligned else 20 * 0.2
    assert machine.now == pytest.approx(3 * LOOK + 120 * 0.2 + 26 * 0.7 + searched)


def test_best_leaves_w_for_a_face_that_it_does_not_hold():
    machine = Machine(turned=True, fspace=(0.25, 0.45))
    found, _ = plan(machine)
    assert tried(found) == ["encoder", "fspace"]
    assert found.extras["method"] == "fspace"
    assert left_out(found) == dict.fromkeys(
        ["optimize", "pti"], "it works in W+, which does not hold this face"
    )
    assert machine.calls[1][2] is None  # it looks for its own start


@pytest.mark.parametrize(
    ("pose", "held"),
    [
        ((math.radians(9), 1.2, 0.1, -0.1), True),
        ((math.radians(11), 1, 0, 0), False),
        ((math.radians(-11), 1, 0, 0), False),
        ((math.radians(-9), 1 / 1.2, 0, 0), True),
        ((0, 1.3, 0, 0), False),
        ((0, 1 / 1.3, 0, 0), False),
        ((0, 1, -0.2, 0), False),
        ((0, 1, 0, 0.2), False),
    ],
    ids=str,
)
def test_w_holds_what_is_nearly_upright(pose, held):
    found, _ = plan(Machine(turned=pose))
    assert found.extras["method"] == ("pti" if held else "fspace")


LEAVES = "W+ does not hold a face that lies so"


def test_fast_leaves_w_for_a_face_as_found_that_it_does_not_hold():
    found, lines = plan(Machine(turned=True), quality="fast", as_found=True)
    assert (tried(found), found.extras["method"]) == (["encoder", "fspace"], "fspace")
    assert lines[0].endswith(f"; {LEAVES}: going on with 40 + 4 steps of fspace")
    upright, lines = plan(Machine(), quality="fast", as_found=True)
    assert tried(upright) == ["encoder"]
    assert lines[-1].endswith("; near enough for fast: encoder is chosen")


def test_good_takes_w_for_faces_as_found_that_it_holds():
    found, lines = plan(Machine(), quality="good", as_found=True)
    assert tried(found) == ["encoder", "optimize"]
    assert "fspace: left out, the face is upright, as W+ holds them" in lines
    turned, _ = plan(Machine(turned=True), quality="good", as_found=True)
    assert (tried(turned), turned.extras["method"]) == (["encoder", "fspace"], "fspace")
    near = Machine(turned=True, encoder=(0.1, 0.2), fspace=(0.6, 1.5))
    kept, lines = plan(near, quality="good", as_found=True)
    assert kept.extras["method"] == "encoder"
    assert lines[-1].endswith(f"; {LEAVES}, and no method is left: encoder is chosen")


def test_without_a_generator_of_its_own_a_turned_face_stays_in_w_and_that_is_said():
    found, lines = plan(Machine(turned=True), quality="fast", as_found=True, own=False)
    assert tried(found) == ["encoder"]
    assert lines[0].endswith(f"; {LEAVES}, and no method is left: encoder is chosen")
    assert lines[1] == "fspace: left out, a generator of the face's own is not wanted"


@pytest.mark.parametrize(
    ("budget", "reader", "method", "why"),
    [
        (0.4, None, "encoder", "whether W+ holds a face that lies so is not known"),
        (5, None, "optimize", "whether W+ holds a face that lies so is not known"),
        (8, None, "optimize", LEAVES),
        (12, None, "fspace", "near enough for fast: fspace is chosen"),
        (2, TinyEncoder(), "encoder", LEAVES),
        (5, TinyEncoder(), "optimize", LEAVES),
        (9, TinyEncoder(), "fspace", "near enough for fast: fspace is chosen"),
    ],
)
def test_faces_as_found_are_looked_at_in_time(budget, reader, method, why):
    machine = Machine(turned=True)
    given = {"quality": "fast", "budget": budget, "as_found": True, "reader": reader}
    found, _ = plan(machine, **given)
    assert (found.extras["method"], found.extras["plan"]["why"].partition(",")[0]) == (method, why)
    assert machine.now <= budget


@pytest.mark.parametrize(("reader", "method"), [(None, "optimize"), (TinyEncoder(), "fspace")])
def test_a_place_that_is_read_takes_less_time(reader, method):
    found, _ = plan(Machine(turned=True, fspace=(0.25, 0.45)), budget=9.5, reader=reader)
    assert found.extras["method"] == method


def test_w_is_tried_when_leaving_it_did_not_help():
    machine = Machine(turned=True, fspace=(0.9, 1.9))
    found, _ = plan(machine)
    assert tried(found) == ["encoder", "fspace", "optimize", "pti"]
    assert [start is not None and start[0, 0, 0].item() for _, _, start in machine.calls] == [
        *(False, False),
        *(1, 3),
    ]


def test_what_is_worse_is_not_taken():
    machine = Machine(turned=True, optimize=(0.8, 1.2), fspace=(0.9, 1.9), pti=(0.9, 1.5))
    found, lines = plan(machine)
    assert found.extras["method"] == "encoder"
    assert found.ws[0, 0, 0] == 1
    assert sum("no nearer than encoder" in line for line in lines) == 3
    assert found.extras["plan"]["why"].endswith("no method is left: encoder is chosen")
    tuned = machine.calls[3]
    assert (tuned[0], tuned[2][0, 0, 0]) == ("pti", 1)


def test_persons_and_pictures_decide_together():
    further, _ = plan(Machine(encoder=(0.2, 1.0), optimize=(0.9, 0.8)), quality="good")
    assert further.extras["method"] == "encoder"  # 0.8 + 0.81 / 2 > 1 + 0.04 / 2
    nearer, _ = plan(Machine(encoder=(0.2, 1.0), optimize=(0.5, 0.8)), quality="good")
    assert nearer.extras["method"] == "optimize"


def test_no_generator_of_its_own_unless_it_is_wanted():
    machine = Machine(optimize=(0.5, 0.9))
    found, _ = plan(machine, own=False)
    assert tried(found) == ["encoder", "optimize"]
    assert set(left_out(found)) == {"fspace", "pti"}


def test_options_have_the_number_format():
    machine = Machine()
    found, _ = plan(machine, quality="good", dtype="bfloat16")
    assert found.extras["options"] == Steps(30, 6, "bfloat16")


# --- by time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [2, 3, 5, 10, 20, 40, 60, 100, 500])
@pytest.mark.parametrize("slow", [0.3, 1, 4])
def test_it_ends_in_time_and_uses_it(budget, slow):
    machine = Machine(slow=slow, pti=(0.2, 0.45), turned=budget == 60)
    found, lines = plan(machine, budget=budget)
    assert LOOK * slow <= machine.now <= budget
    if budget > 4 * slow:
        enough = slow * (60 * 0.2 + 20 * 0.7)
        assert machine.now > 0.6 * min(budget, enough)
        assert found.extras["method"] != "encoder"
    assert all(f" of {budget} s left)" in line for line in lines if "going on" in line)


def test_a_budget_too_small_for_anything_still_encodes():
    machine = Machine()
    found, lines = plan(machine, budget=0.1)
    assert tried(found) == ["encoder"]
    assert lines[0].endswith(", and time is up: encoder is chosen")
    assert lines[1] == "optimize: left out, it takes 1.2 s or more, and 0.0 s are left"
    assert left_out(found).keys() == {"optimize"}  # without a step's time nothing is planned


def test_a_clock_does_not_make_it_worse():
    found, lines = plan(Machine(), quality="good", budget=500)
    assert [one["steps"] for one in found.extras["plan"]["rungs"]] == [0, 3, 36]
    assert "; a step is timed: going on with 30 + 6 steps of optimize (" in lines[1]


def test_steps_are_counted_by_what_they_take_here():
    counts = []
    for slow in (0.2, 0.8, 1.6):
        machine = Machine(slow=slow)
        _, lines = plan(machine, budget=10)
        trial, long = [options for name, options, _ in machine.calls if name == "optimize"]
        assert (trial.steps, trial.finish) == (3, 0)
        assert f"going on with {long.steps} + {long.finish} steps of optimize" in lines[1]
        counts.append(long.steps)
    assert counts[0] == 60 > counts[1] > counts[2] > 5


def test_a_machine_that_becomes_slow_is_noticed():
    machine = Machine()
    slow = machine.methods["optimize"].__call__

    def slower(self, target, on_step=None, **more):
        def told(step, losses, ws):
            if self.options.steps > 3 and step == 10:
                machine.preview *= 5
            return on_step(step, losses, ws)

        return slow(self, target, told, **more)

    machine.methods["optimize"].__call__ = slower
    found, _ = plan(machine, budget=12)
    assert found.extras["steps"] < 3 + 30
    assert machine.now <= 12 + 5 * 0.2 + LOOK


def test_tuning_that_would_be_cut_short_is_left_out():
    found, _ = plan(Machine(), budget=32)
    assert tried(found) == ["encoder", "optimize", "optimize"]
    assert left_out(found)["pti"].startswith("it takes 1")


# --- by memory, and when something fails ---------------------------------------------------------


def test_memory_of_other_generators_is_told_to_be_a_guess():
    _, lines = plan(Machine(), free=0.25)
    needs = "about 0.5 GB of memory (a guess for this tiny), and 0.2 GB are free"
    assert f"pti: left out, it takes {needs}" in lines


def test_what_memory_does_not_hold_is_left_out(monkeypatch):
    monkeypatch.setattr(TinyGenerator, "name", "mobilestylegan")
    machine = Machine()
    _, lines = plan(machine, free=1.0)
    assert [(options.steps, options.finish) for _, options, _ in machine.calls[1:]] == [
        (60, 0),
        (60, 0),
    ]
    assert lines[2] == (
        "optimize: no steps at full size, they take about 1.5 GB of memory, and 1.0 GB are free"
    )
    found, lines = plan(Machine(), free=0.25)
    assert tried(found) == ["encoder"]
    assert "pti: left out, it takes about 0.5 GB of memory, and 0.2 GB are free" in lines


@pytest.mark.parametrize("error", [TediError("step 7: the loss\nis nan"), torch.OutOfMemoryError()])
def test_a_rung_that_fails_is_left_out(error):
    found, lines = plan(Machine(optimize=(error,)))
    assert tried(found) == ["encoder", "pti"]
    assert left_out(found)["optimize"].startswith("it failed: ")
    assert [line.split(":")[0] for line in lines] == ["encoder", "fspace", "optimize", "pti"]
    assert lines[2].endswith(": going on with 60 + 6 steps of pti")
    assert all("\n" not in line for line in lines)
    in_time, _ = plan(Machine(optimize=(error,)), budget=60)
    assert left_out(in_time)["pti"] == "no step could be timed"
    with pytest.raises(type(error)):
        plan(Machine(encoder=(error,)))


def test_bugs_are_not_taken_for_failures():
    with pytest.raises(ZeroDivisionError):
        plan(Machine(optimize=(ZeroDivisionError(),)))


def test_who_watches_may_stop_it():
    seen = []
    found, lines = plan(Machine(), on_step=lambda step, losses, ws: seen.append(step) or step == 4)
    assert seen == [0, 1, 2, 3, 4]
    assert tried(found) == ["encoder", "optimize"]
    assert (found.extras["method"], found.extras["steps"]) == ("optimize", 4)
    assert lines[-1].endswith("and it was stopped: optimize is chosen")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quality": "god"}, "unknown quality 'god'; did you mean 'good'?"),
        ({"budget": 0}, "budget: expected seconds above 0, got 0"),
        ({"budget": math.inf}, "got inf"),
        ({"budget": math.nan}, "got nan"),
        ({"aligned": True, "as_found": True}, "aligned, as_found: a face lies in one way"),
        ({"target": pictures(2)}, "target: expected one picture, got 2"),
        ({"target": torch.zeros(3, 16, 16)}, "target: expected aligned pictures"),
    ],
    ids=str,
)
def test_wrong_values_are_named(settings, says):
    machine = Machine()
    with pytest.raises(UsageError) as raised:
        plan(machine, **settings)
    assert says in str(raised.value)
    assert machine.calls == []


# --- with the methods themselves -----------------------------------------------------------------


def real(**settings):
    networks = {"maps": maps, "describe": describe}
    return Planner(TinyGenerator(), TinyEncoder(), **networks, **settings)


@pytest.mark.parametrize("quality", list(PROGRAMS))
def test_the_methods_of_the_table_do_what_is_planned(quality):
    target = pictures(1, seed=4)
    found = real(quality=quality, budget=60)(target)
    told = found.extras["plan"]
    assert (told["quality"], told["budget"]) == (quality, 60)
    first, *_ = [one["figures"] for one in told["rungs"] if "figures" in one]
    figures = {name: float(value) for name, value in found.extras["figures"].items()}
    assert first["perceptual"] >= figures["perceptual"] - 1e-6
    assert found.extras["method"] in INVERTERS
    alone = INVERTERS["encoder"](TinyGenerator(), TinyEncoder(), maps=maps, describe=describe)
    person = float(alone(target).extras["figures"]["identity"]) ** 0.5
    assert first["identity"] == pytest.approx(person, rel=1e-4)


def test_a_watch_knows_when_steps_are_at_full_size():
    now = iter(range(100))
    watch = Watch(
        lambda: next(now), math.inf, closing=0, steps=5, expected=(1.0, 1.0), on_step=None
    )
    seen = []

    def look(step, losses, ws):
        seen.append(step)
        return watch(step, losses, ws)

    options = replace(InDomain.defaults, steps=5, finish=3, patience=2, tolerance=10.0)
    networks = {"maps": maps, "describe": describe}
    InDomain(TinyGenerator(), TinyEncoder(), options=options, **networks)(pictures(1), look)
    assert seen == [0, 1, 2, 2, 3, 4]  # patience ended both
    assert watch._times == ([1, 1], [1, 1])
    assert (watch.median(full=False), watch.median(full=True)) == (1, 1)


def test_free_memory_is_what_the_system_tells(tmp_path, monkeypatch):
    there = tmp_path / "meminfo"
    there.write_text("MemTotal: 9 kB\n\nMemAvailable:    2000000 kB\nHugePages_Total:  0\n")
    monkeypatch.setattr(limits, "MEMINFO", there)
    assert free_memory(torch.device("cpu")) == pytest.approx(2.048)
    there.write_text("MemTotal: 9 kB\n")
    assert free_memory(torch.device("cpu")) is None
    there.unlink()
    assert free_memory(torch.device("cpu")) is None
