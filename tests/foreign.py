"""Tiny networks in other people's layouts, drawn by slow code of the test's own.

Each layout's state dict is made here by hand, from its published names; the drawing code reads the
foreign names themselves, so that a key map that is wrong in a shape, a sign or a turn is seen.
"""

import math
import pickle
import re

import torch
import torch.nn.functional as F
from raw_files import EasyDict, Persistent, named, write_nvidia

WIDTH, SIZE, DEPTH = 8, 16, 2
CHANNELS = {4: 8, 8: 6, 16: 4}
PSI = 0.7


def randoms(seed):
    """A maker of numbers that are neither zero nor alike."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator)


# --- StyleGAN2 in NVIDIA's names -----------------------------------------------------------------


def stylegan2(seed=0, *, depth=DEPTH):
    """State of StyleGAN2-ADA's generator without its filters."""
    r, state = randoms(seed), {}
    for i in range(depth):
        state[f"mapping.fc{i}.weight"] = r(WIDTH, WIDTH) * 100
        state[f"mapping.fc{i}.bias"] = r(WIDTH) * 10
    state["mapping.w_avg"] = r(WIDTH)
    state["synthesis.b4.const"] = r(CHANNELS[4], 4, 4)
    before = CHANNELS[4]
    for size, count in CHANNELS.items():
        for conv in ("conv1",) if size == 4 else ("conv0", "conv1"):
            name = f"synthesis.b{size}.{conv}"
            state |= {f"{name}.weight": r(count, before, 3, 3), f"{name}.bias": r(count)}
            state |= {f"{name}.noise_strength": r(), f"{name}.noise_const": r(size, size)}
            state |= affine(r, name, before)
            before = count
        name = f"synthesis.b{size}.torgb"
        state |= {f"{name}.weight": r(3, count, 1, 1), f"{name}.bias": r(3)}
        state |= affine(r, name, count)
    return state


def affine(r, name, count):
    return {f"{name}.affine.weight": r(count, WIDTH), f"{name}.affine.bias": 1 + r(count)}


def discriminator2(seed=0):
    """State of StyleGAN2-ADA's discriminator without its filters."""
    r, state = randoms(seed), {}

    def conv(name, enter, leave, size, bias=True):
        state[f"{name}.weight"] = r(leave, enter, size, size)
        state.update({f"{name}.bias": r(leave)} if bias else {})

    conv(f"b{SIZE}.fromrgb", 3, CHANNELS[SIZE], 1)
    for size in (16, 8):
        enter, leave = CHANNELS[size], CHANNELS[size // 2]
        conv(f"b{size}.conv0", enter, enter, 3)
        conv(f"b{size}.conv1", enter, leave, 3)
        conv(f"b{size}.skip", enter, leave, 1, bias=False)
    conv("b4.conv", CHANNELS[4] + 1, CHANNELS[4], 3)
    for name, enter, leave in (("fc", CHANNELS[4] * 16, CHANNELS[4]), ("out", CHANNELS[4], 1)):
        state |= {f"b4.{name}.weight": r(leave, enter), f"b4.{name}.bias": r(leave)}
    return state


FILTER = torch.tensor([1.0, 3, 3, 1]).outer(torch.tensor([1.0, 3, 3, 1])) / 64


def with_filters(state):
    """A state of NVIDIA's as its modules keep it, filters beside convolutions and in blocks."""
    full = dict(state)
    for name in state:
        found = re.fullmatch(r"((?:synthesis\.)?b\d+)\.(conv\d?|fromrgb|skip)\.weight", name)
        if found:
            full[f"{found[1]}.{found[2]}.resample_filter"] = FILTER.clone()
            if found[2] != "conv":
                full[f"{found[1]}.resample_filter"] = FILTER.clone()
    return full


# --- rosinality ----------------------------------------------------------------------------------


def rosinality(state):
    """ "g_ema" of a StyleGAN2 in NVIDIA's names."""
    made, blocks = {}, [(4, 1, "conv1"), (8, 0, "convs.0"), (8, 1, "convs.1"), (16, 0, "convs.2")]
    blocks.append((16, 1, "convs.3"))
    for i in range(DEPTH):
        made[f"style.{i + 1}.weight"] = state[f"mapping.fc{i}.weight"]
        made[f"style.{i + 1}.bias"] = state[f"mapping.fc{i}.bias"]
    made["input.input"] = state["synthesis.b4.const"][None]
    for number, (size, which, name) in enumerate(blocks):
        old = f"synthesis.b{size}.conv{which}"
        made[f"{name}.conv.weight"] = state[f"{old}.weight"][None]
        made[f"{name}.conv.modulation.weight"] = state[f"{old}.affine.weight"]
        made[f"{name}.conv.modulation.bias"] = state[f"{old}.affine.bias"]
        made[f"{name}.noise.weight"] = state[f"{old}.noise_strength"].reshape(1)
        made[f"{name}.activate.bias"] = state[f"{old}.bias"]
        made[f"noises.noise_{number}"] = state[f"{old}.noise_const"][None, None]
        if which == 0:
            made[f"{name}.conv.blur.kernel"] = FILTER * 4
    for size, name in ((4, "to_rgb1"), (8, "to_rgbs.0"), (16, "to_rgbs.1")):
        old = f"synthesis.b{size}.torgb"
        made[f"{name}.conv.weight"] = state[f"{old}.weight"][None]
        made[f"{name}.conv.modulation.weight"] = state[f"{old}.affine.weight"]
        made[f"{name}.conv.modulation.bias"] = state[f"{old}.affine.bias"]
        made[f"{name}.bias"] = state[f"{old}.bias"].reshape(1, 3, 1, 1)
        if size > 4:
            made[f"{name}.upsample.kernel"] = FILTER * 4
    return made


def rosinality_d(state):
    """ "d" of a discriminator in NVIDIA's names."""
    names = {"b16.fromrgb.weight": "convs.0.0.weight", "b16.fromrgb.bias": "convs.0.1.bias"}
    made = {}
    for number, size in ((1, 16), (2, 8)):
        names[f"b{size}.conv0.weight"] = f"convs.{number}.conv1.0.weight"
        names[f"b{size}.conv0.bias"] = f"convs.{number}.conv1.1.bias"
        names[f"b{size}.conv1.weight"] = f"convs.{number}.conv2.1.weight"
        names[f"b{size}.conv1.bias"] = f"convs.{number}.conv2.2.bias"
        names[f"b{size}.skip.weight"] = f"convs.{number}.skip.1.weight"
        made[f"convs.{number}.conv2.0.kernel"] = FILTER.clone()
        made[f"convs.{number}.skip.0.kernel"] = FILTER.clone()
    names |= {"b4.conv.weight": "final_conv.0.weight", "b4.conv.bias": "final_conv.1.bias"}
    for number, layer in enumerate(("fc", "out")):
        for leaf in ("weight", "bias"):
            names[f"b4.{layer}.{leaf}"] = f"final_linear.{number}.{leaf}"
    return made | {new: state[old] for old, new in names.items()}


# --- genforce ------------------------------------------------------------------------------------


def genforce(state):
    """ "generator_smooth" of a StyleGAN2 in NVIDIA's names."""
    made = {"truncation.w_avg": state["mapping.w_avg"]}
    for i in range(DEPTH):
        made[f"mapping.dense{i}.weight"] = state[f"mapping.fc{i}.weight"]
        made[f"mapping.dense{i}.bias"] = state[f"mapping.fc{i}.bias"]
    made["synthesis.early_layer.const"] = state["synthesis.b4.const"][None]
    layers = {"b4.conv1": "layer0", "b8.conv0": "layer1", "b8.conv1": "layer2"}
    layers |= {"b16.conv0": "layer3", "b16.conv1": "layer4"}
    layers |= {"b4.torgb": "output0", "b8.torgb": "output1", "b16.torgb": "output2"}
    for old, new in layers.items():
        old, new = f"synthesis.{old}", f"synthesis.{new}"
        weight = state[f"{old}.weight"]
        made[f"{new}.weight"] = weight.flip((2, 3)) if old.endswith("conv0") else weight
        made[f"{new}.bias"] = state[f"{old}.bias"]
        made[f"{new}.style.weight"] = state[f"{old}.affine.weight"]
        made[f"{new}.style.bias"] = state[f"{old}.affine.bias"] - 1
        if "torgb" not in old:
            made[f"{new}.noise_strength"] = state[f"{old}.noise_strength"]
            made[f"{new}.noise"] = state[f"{old}.noise_const"][None, None]
        if old.endswith("conv0"):
            made[f"{new}.filter.kernel"] = (FILTER * 4)[None, None]
    return made | {"synthesis.upsample.kernel": (FILTER * 4)[None, None]}


def genforce_d(state):
    """ "discriminator" of a discriminator in NVIDIA's names."""
    layers = {"b16.fromrgb": "input0", "b16.conv0": "layer0", "b16.conv1": "layer1"}
    layers |= {"b16.skip": "skip_layer0", "b8.conv0": "layer2", "b8.conv1": "layer3"}
    layers |= {"b8.skip": "skip_layer1", "b4.conv": "layer4", "b4.fc": "layer5"}
    layers |= {"b4.out": "layer6"}
    made = {}
    for old, new in layers.items():
        made[f"{new}.weight"] = state[f"{old}.weight"]
        if f"{old}.bias" in state:
            made[f"{new}.bias"] = state[f"{old}.bias"]
        if new in ("layer1", "layer3", "skip_layer0", "skip_layer1"):
            made[f"{new}.filter.kernel"] = FILTER[None, None].clone()
    return made


# --- slow drawing of foreign states --------------------------------------------------------------


def mapped(z, layers):
    """W of noise; layers are (weight, bias) at a rate of 0.01, with activations of gain √2."""
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for weight, bias in layers:
        x = x @ (weight * 0.01 / math.sqrt(weight.shape[1])).T + bias * 0.01
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x


def filtered(x, kernel, before, after):
    """Each channel padded and convolved with one kernel."""
    x = F.pad(x, (before, after, before, after))
    N, C, H, W = x.shape
    return F.conv2d(x.reshape(N * C, 1, H, W), kernel[None, None]).reshape(N, C, H - 3, W - 3)


def stretched(x):
    """Twice the size, with zeros between, then filtered."""
    N, C, H, W = x.shape
    wide = x.new_zeros(N, C, 2 * H, 2 * W)
    wide[:, :, ::2, ::2] = x
    return filtered(wide, FILTER * 4, 2, 1)


def modulated(x, weight, style, *, up=None, demodulate=True):
    """One sample at a time: `up` gives the kernel of the transposed convolution."""
    weight, rows = weight / math.sqrt(weight[0].numel()), []
    for sample, s in zip(x, style, strict=True):
        kernel = weight * s[None, :, None, None]
        if demodulate:
            size = (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
            kernel = kernel / size
        if up is None:
            rows.append(F.conv2d(sample[None], kernel, padding=kernel.shape[-1] // 2))
        else:
            wide = F.conv_transpose2d(sample[None], up(kernel), stride=2)
            rows.append(filtered(wide, FILTER * 4, 1, 1))
    return torch.cat(rows)


def dense(w, weight, bias):
    return w @ weight.T / math.sqrt(weight.shape[1]) + bias


def layer(x, w, weight, style, noise, bias, up=None):
    x = modulated(x, weight, dense(w, *style), up=up)
    x = x + noise[0] * noise[1] + bias[None, :, None, None]
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def draw_rosinality(state, z, w_avg):
    """Pictures of noise at psi 0.7, from a "g_ema" and a "latent_avg"."""
    w = mapped(z, [(state[f"style.{i}.weight"], state[f"style.{i}.bias"]) for i in (1, 2)])
    w, x = w_avg + PSI * (w - w_avg), state["input.input"].expand(len(z), -1, -1, -1)

    def styled(name):
        return state[f"{name}.conv.modulation.weight"], state[f"{name}.conv.modulation.bias"]

    def conv(x, name, number, up=None):
        noise = state[f"{name}.noise.weight"], state[f"noises.noise_{number}"]
        weight, bias = state[f"{name}.conv.weight"][0], state[f"{name}.activate.bias"]
        return layer(x, w, weight, styled(name), noise, bias, up)

    def rgb(x, name):
        made = modulated(
            x, state[f"{name}.conv.weight"][0], dense(w, *styled(name)), demodulate=False
        )
        return made + state[f"{name}.bias"]

    x = conv(x, "conv1", 0)
    image = rgb(x, "to_rgb1")
    for i in range(2):
        x = conv(x, f"convs.{2 * i}", 2 * i + 1, up=lambda kernel: kernel.transpose(0, 1))
        x = conv(x, f"convs.{2 * i + 1}", 2 * i + 2)
        image = stretched(image) + rgb(x, f"to_rgbs.{i}")
    return image


def draw_genforce(state, z):
    """Pictures of noise at psi 0.7, from a "generator_smooth": a style has 1 added, and the
    kernels of transposed convolutions are turned when they are used."""
    dense_ = [(state[f"mapping.dense{i}.weight"], state[f"mapping.dense{i}.bias"]) for i in (0, 1)]
    w_avg = state["truncation.w_avg"]
    w = w_avg + PSI * (mapped(z, dense_) - w_avg)
    x = state["synthesis.early_layer.const"].expand(len(z), -1, -1, -1)

    def styled(name):
        return state[f"synthesis.{name}.style.weight"], state[f"synthesis.{name}.style.bias"] + 1

    def conv(x, number, up=None):
        name = f"synthesis.layer{number}"
        noise = state[f"{name}.noise_strength"], state[f"{name}.noise"]
        style = styled(f"layer{number}")
        return layer(x, w, state[f"{name}.weight"], style, noise, state[f"{name}.bias"], up)

    def rgb(x, number):
        weight, bias = (state[f"synthesis.output{number}.{leaf}"] for leaf in ("weight", "bias"))
        made = modulated(x, weight, dense(w, *styled(f"output{number}")), demodulate=False)
        return made + bias[None, :, None, None]

    x = conv(x, 0)
    image = rgb(x, 0)
    for i in (1, 2):
        x = conv(x, 2 * i - 1, up=lambda kernel: kernel.transpose(0, 1).flip((2, 3)))
        x = conv(x, 2 * i)
        image = stretched(image) + rgb(x, i)
    return image


def judge_rosinality(state, image):
    """Logits of pictures, from a "d"."""

    def conv(x, weight, bias=None, padding=0, stride=1):
        x = F.conv2d(x, weight / math.sqrt(weight[0].numel()), padding=padding, stride=stride)
        if bias is None:
            return x
        return F.leaky_relu(x + bias[None, :, None, None], 0.2) * math.sqrt(2)

    x = conv(image, state["convs.0.0.weight"], state["convs.0.1.bias"])
    for i in (1, 2):
        name = f"convs.{i}"
        y = conv(x, state[f"{name}.conv1.0.weight"], state[f"{name}.conv1.1.bias"], padding=1)
        y = filtered(y, FILTER, 2, 2)
        y = conv(y, state[f"{name}.conv2.1.weight"], state[f"{name}.conv2.2.bias"], stride=2)
        x = y + conv(filtered(x, FILTER, 1, 1), state[f"{name}.skip.1.weight"], stride=2)
        x = x / math.sqrt(2)
    N, C, H, W = x.shape
    spread = x.reshape(min(N, 4), -1, 1, C, H, W)  # groups of up to four
    spread = (spread.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(2, 3, 4), keepdim=True)
    x = torch.cat([x, spread.mean(dim=2).repeat(min(N, 4), 1, H, W)], dim=1)
    x = conv(x, state["final_conv.0.weight"], state["final_conv.1.bias"], padding=1).flatten(1)
    x = dense(x, state["final_linear.0.weight"], state["final_linear.0.bias"])
    x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return dense(x, state["final_linear.1.weight"], state["final_linear.1.bias"])


# --- StyleGAN1 -----------------------------------------------------------------------------------


def idinvert(seed=0, *, own=True):
    """State of idinvert's generator; `own`: each slot has its own w, the mean has not."""
    r, slots = randoms(seed), 6
    state = {}
    for i in range(DEPTH):
        wide = WIDTH * slots if own and i == DEPTH - 1 else WIDTH
        state[f"mapping.dense{i}.fc.weight"] = r(wide, WIDTH) * 100
        state[f"mapping.dense{i}.wscale.bias"] = r(wide) * 10
    state["truncation.w_avg"] = r(WIDTH)
    state["truncation.truncation"] = torch.full((1, slots, 1), 0.7)
    state["synthesis.lod"] = torch.zeros(())
    before = CHANNELS[4]
    for i in range(slots):
        size = 4 << (i // 2)
        count, name = CHANNELS[size], f"synthesis.layer{i}"
        if i:
            state[f"{name}.conv.weight"] = r(count, before, 3, 3)
        else:
            state[f"{name}.const"] = r(1, count, 4, 4)
        if i and i % 2 == 0:
            blur = torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])) / 16
            state[f"{name}.blur.kernel"] = blur.repeat(count, 1, 1, 1)
        state[f"{name}.epilogue.bias"] = r(count)
        state[f"{name}.epilogue.apply_noise.weight"] = r(count)
        state[f"{name}.epilogue.apply_noise.noise"] = r(1, 1, size, size)
        state[f"{name}.epilogue.style_mod.dense.fc.weight"] = r(2 * count, WIDTH)
        state[f"{name}.epilogue.style_mod.dense.wscale.bias"] = r(2 * count)
        if i % 2:
            state[f"synthesis.output{i // 2}.conv.weight"] = r(3, count, 1, 1)
            state[f"synthesis.output{i // 2}.bias"] = r(3)
        before = count
    return state


def draw_idinvert(state, z):
    """Pictures of noise at psi 0.7 by idinvert's names, every slot truncated."""
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(DEPTH):
        weight, bias = (state[f"mapping.dense{i}.{n}"] for n in ("fc.weight", "wscale.bias"))
        gain = math.sqrt(2 / weight.shape[1]) * 0.01
        x = F.leaky_relu(x @ (weight * gain).T + bias * 0.01, 0.2)
    ws = x.reshape(len(z), -1, WIDTH).expand(-1, 6, -1)
    ws = state["truncation.w_avg"] + PSI * (ws - state["truncation.w_avg"])
    x = state["synthesis.layer0.const"].expand(len(z), -1, -1, -1)
    for i in range(6):
        name = f"synthesis.layer{i}"
        if i and i % 2 == 0:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        if i:
            weight = state[f"{name}.conv.weight"]
            x = F.conv2d(x, weight * math.sqrt(2 / weight[0].numel()), padding=1)
        if i and i % 2 == 0:
            x = F.conv2d(x, state[f"{name}.blur.kernel"], padding=1, groups=x.shape[1])
        tail = f"{name}.epilogue"
        noise = state[f"{tail}.apply_noise.noise"]
        x = x + noise * state[f"{tail}.apply_noise.weight"][None, :, None, None]
        x = F.leaky_relu(x + state[f"{tail}.bias"][None, :, None, None], 0.2)
        x = x - x.mean(dim=(2, 3), keepdim=True)
        x = x / (x.square().mean(dim=(2, 3), keepdim=True) + 1e-8).sqrt()
        style = [state[f"{tail}.style_mod.dense.{n}"] for n in ("fc.weight", "wscale.bias")]
        scale, shift = dense(ws[:, i], *style).chunk(2, dim=1)
        x = x * (scale[:, :, None, None] + 1) + shift[:, :, None, None]
    weight = state["synthesis.output2.conv.weight"]
    x = F.conv2d(x, weight / math.sqrt(weight[0].numel()))
    return torch.tanh(x + state["synthesis.output2.bias"][None, :, None, None])


# --- NVIDIA's pickles ----------------------------------------------------------------------------


class Official(Persistent):
    """A module tree of a state dict, each module pickled as NVIDIA's are."""

    def __init__(self, state, buffers=(), class_name="Generator", **arguments):
        super().__init__(**arguments)
        self.class_name = class_name
        children = {}
        for name, tensor in state.items():
            head, dot, rest = name.partition(".")
            if dot:
                children.setdefault(head, {})[rest] = tensor
            elif tensor.ndim == 0 or head in ("w_avg", "noise_const", "resample_filter"):
                self.register_buffer(head, tensor)
            else:
                self.register_parameter(head, torch.nn.Parameter(tensor))
        for head, part in children.items():
            self.add_module(head, Official(part, class_name="Layer"))


def write_pkl(path, g, d=None, **arguments):
    """A .pkl of NVIDIA's training loop."""
    arguments = {"z_dim": WIDTH, "c_dim": 0, "img_channels": 3, **arguments}
    content = {"G": None, "D": None, "G_ema": Official(g, **arguments), "augment_pipe": None}
    if d is not None:
        content["D"] = Official(d, class_name="Discriminator", c_dim=0, img_channels=3)
    content["training_set_kwargs"] = EasyDict(path="/data/faces.zip")
    write_nvidia(path, content)


# --- TensorFlow ----------------------------------------------------------------------------------


class Network:
    """Stands for dnnlib.tflib.network.Network."""

    def __init__(self, name, variables, components=None, version=4, **arguments):
        self.about = {"version": version, "name": name, "static_kwargs": EasyDict(arguments)}
        self.about |= {"components": EasyDict(components or {}), "build_func_name": "G_main"}
        self.about |= {"build_module_src": "print('ran')", "variables": variables}

    def __getstate__(self):
        return self.about


def tensorflow2(state):
    """Gs of a StyleGAN2 in NVIDIA's PyTorch names."""
    mapping, synthesis = [], []
    for i in range(DEPTH):
        mapping.append((f"Dense{i}/weight", state[f"mapping.fc{i}.weight"].T.numpy()))
        mapping.append((f"Dense{i}/bias", state[f"mapping.fc{i}.bias"].numpy()))
    synthesis.append(("4x4/Const/const", state["synthesis.b4.const"][None].numpy()))
    layers = {"b4.conv1": "4x4/Conv", "b8.conv0": "8x8/Conv0_up", "b8.conv1": "8x8/Conv1"}
    layers |= {"b16.conv0": "16x16/Conv0_up", "b16.conv1": "16x16/Conv1"}
    for number, (old, new) in enumerate(layers.items()):
        old = f"synthesis.{old}"
        weight = state[f"{old}.weight"]
        weight = weight.flip((2, 3)) if "up" in new else weight
        synthesis.append((f"{new}/weight", weight.permute(2, 3, 1, 0).numpy()))
        synthesis += modulation(state, old, new)
        synthesis.append((f"{new}/noise_strength", state[f"{old}.noise_strength"].numpy()))
        synthesis.append((f"noise{number}", state[f"{old}.noise_const"][None, None].numpy()))
    for size in CHANNELS:
        old, new = f"synthesis.b{size}.torgb", f"{size}x{size}/ToRGB"
        weight = state[f"{old}.weight"].permute(2, 3, 1, 0)
        synthesis += [(f"{new}/weight", weight.numpy()), *modulation(state, old, new)]
    parts = {
        "mapping": Network("G_mapping", mapping),
        "synthesis": Network("G_synthesis", synthesis),
    }
    return Network("Gs", [("dlatent_avg", state["mapping.w_avg"].numpy())], parts)


def modulation(state, old, new):
    yield f"{new}/mod_weight", state[f"{old}.affine.weight"].T.numpy()
    yield f"{new}/mod_bias", (state[f"{old}.affine.bias"] - 1).numpy()
    yield f"{new}/bias", state[f"{old}.bias"].numpy()


def tensorflow2_d(state):
    """D of a discriminator in NVIDIA's PyTorch names."""
    layers = {"b16.fromrgb": "16x16/FromRGB", "b16.conv0": "16x16/Conv0"}
    layers |= {"b16.conv1": "16x16/Conv1_down", "b16.skip": "16x16/Skip", "b8.conv0": "8x8/Conv0"}
    layers |= {"b8.conv1": "8x8/Conv1_down", "b8.skip": "8x8/Skip", "b4.conv": "4x4/Conv"}
    layers |= {"b4.fc": "4x4/Dense0", "b4.out": "Output"}
    variables = []
    for old, new in layers.items():
        weight = state[f"{old}.weight"]
        weight = weight.T if weight.ndim == 2 else weight.permute(2, 3, 1, 0)
        variables.append((f"{new}/weight", weight.numpy()))
        if f"{old}.bias" in state:
            variables.append((f"{new}/bias", state[f"{old}.bias"].numpy()))
    return Network("D", variables)


def tensorflow1(state):
    """Gs of a StyleGAN1 in idinvert's names, whose slots share one w."""
    mapping, synthesis = [], [("lod", torch.zeros(()).numpy())]
    for i in range(DEPTH):
        mapping.append((f"Dense{i}/weight", state[f"mapping.dense{i}.fc.weight"].T.numpy()))
        mapping.append((f"Dense{i}/bias", state[f"mapping.dense{i}.wscale.bias"].numpy()))
    synthesis.append(("4x4/Const/const", state["synthesis.layer0.const"].numpy()))
    names = ("4x4/Const", "4x4/Conv", "8x8/Conv0_up", "8x8/Conv1", "16x16/Conv0_up", "16x16/Conv1")
    for i, new in enumerate(names):
        old = f"synthesis.layer{i}"
        if i:
            weight = state[f"{old}.conv.weight"].permute(2, 3, 1, 0)
            synthesis.append((f"{new}/weight", weight.numpy()))
        tail = f"{old}.epilogue"
        synthesis.append((f"{new}/bias", state[f"{tail}.bias"].numpy()))
        synthesis.append((f"{new}/Noise/weight", state[f"{tail}.apply_noise.weight"].numpy()))
        synthesis.append((f"noise{i}", state[f"{tail}.apply_noise.noise"].numpy()))
        weight, bias = (state[f"{tail}.style_mod.dense.{n}"] for n in ("fc.weight", "wscale.bias"))
        synthesis.append((f"{new}/StyleMod/weight", weight.T.numpy()))
        synthesis.append((f"{new}/StyleMod/bias", bias.numpy()))
    for i in range(3):
        weight = state[f"synthesis.output{i}.conv.weight"].permute(2, 3, 1, 0)
        synthesis.append((f"ToRGB_lod{2 - i}/weight", weight.numpy()))
        synthesis.append((f"ToRGB_lod{2 - i}/bias", state[f"synthesis.output{i}.bias"].numpy()))
    parts = {
        "mapping": Network("G_mapping", mapping),
        "synthesis": Network("G_synthesis", synthesis),
    }
    return Network("Gs", [("dlatent_avg", state["truncation.w_avg"].numpy())], parts, version=3)


def tensorflow1_d(state):
    """D of a StyleGAN1 discriminator in genforce's names."""
    layers = {"layer0": "16x16/Conv0", "layer1": "16x16/Conv1_down", "layer2": "8x8/Conv0"}
    layers |= {"layer3": "8x8/Conv1_down", "layer4": "4x4/Conv", "layer5": "4x4/Dense0"}
    layers |= {"layer6": "4x4/Dense1", **{f"input{i}": f"FromRGB_lod{i}" for i in range(3)}}
    variables = [("lod", state["lod"].numpy())]
    for old, new in layers.items():
        weight = state[f"{old}.weight"]
        weight = weight.T if weight.ndim == 2 else weight.permute(2, 3, 1, 0)
        variables.append((f"{new}/weight", weight.numpy()))
        variables.append((f"{new}/bias", state[f"{old}.bias"].numpy()))
    return Network("D", variables, version=3, mbstd_group_size=4)


def write_tensorflow(path, *networks):
    """A pickle of NVIDIA's TensorFlow programs."""
    with named("dnnlib.tflib.network", Network), named("dnnlib.util", EasyDict):
        path.write_bytes(pickle.dumps(networks, protocol=4))
