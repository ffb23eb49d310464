"""What people also write, and no attribute of a face covers: clothes, eyes, pets, whole cars."""

import re
from collections.abc import Callable, Sequence

from tedi.grammar.dice import Dice
from tedi.grammar.english import articles
from tedi.grammar.lexicon import lines, listed

WEIGHTS = {
    **{"worn": 3.0, "has": 3.0, "adj": 1.5, "pred": 2.5, "post": 2.0, "does": 1.0, "clause": 0.5}
}
# Slots as in `tedi.grammar.words`, one phrase a line; names in braces are lists below.
ASIDES = {
    "worn": """
a {color} {garment}
a {color} {garment}
a {color} {garment}
a {kind} {garment}
a {garment}
{color} clothes
{color} {pair}
a {color} and white {garment}
a suit and tie
a {color} tie
a {color} scarf
a uniform
headphones
a necklace
a golden necklace
a silver chain
a pearl necklace
a watch
a backpack
a nose ring
a {color} necklace
a mask
a bow tie
an apron
gloves
~a {color} poncho
~a tuxedo
~a {color} kimono
~a lab coat
~a pendant
~armor
""",
    "has": """
{eyes} eyes
{eyes} eyes
{eyes} eyes
big eyes
small eyes
beautiful {eyes} eyes
freckles
a big nose
a small nose
a long nose
a scar
a tattoo
a tattoo on {her} neck
dimples
big ears
small ears
full lips
thin lips
red cheeks
high cheekbones
a strong jaw
a pointed chin
a long neck
white teeth
shiny hair
messy hair
wet hair
a {color} shirt
a {color} jacket
a {pet}
a {color} {garment}
a piercing
a mole on {her} cheek
wings
~a snub nose
~{eyes} irises
~a birthmark
~a crooked nose
~broad shoulders
~antlers
~a lip ring
""",
    "adj": """
beautiful
handsome
pretty
cute
attractive
tired
famous
elegant
intelligent looking
{eyes}-eyed
{nation}
{nation}
freckled
rich
cool
lovely
ordinary
~gorgeous
~weary
~freckly
~charismatic
""",
    "pred": """
wearing a {color} {garment}
in a {color} {garment}
in a {color} {garment}
dressed in {color}
in {color} clothes
holding a {thing}
holding a {color} {thing}
from {country}
in a suit
in a suit and tie
in uniform
sitting on a {color} chair
thinking about something
reading a book
drinking coffee
eating an apple
playing the guitar
riding a bike
working as a {job}
on holiday
at work
at a party
standing
sitting
listening to music
looking tired
~clad in {color}
~attired in a {color} {garment}
~clutching a {thing}
~hailing from {country}
~employed as a {job}
~at a wedding
""",
    "post": """
with {eyes} eyes
with {eyes} eyes
with a {pet}
and a {pet}
and a {color} {thing}
with a {color} {garment}
in a {color} {garment}
with a tattoo
with freckles
with big ears
as a {job}
from {country}
who works as a {job}
who likes {hobby}
who looks like a movie star
with a {color} {thing}
called {name}
~fond of {hobby}
~resembling a film star
~together with a {pet}
~by the name of {name}
""",
    "does": """
likes {hobby}
works as a {job}
comes from {country}
lives in {country}
loves {hobby}
looks tired
looks like a {job}
holds a {thing}
drives a {color} car
plays the guitar
drinks coffee
~adores {hobby}
~owns a {pet}
~earns a living as a {job}
""",
    "clause": """
{her} eyes are {eyes}
{her} eyes are {eyes}
{her} shirt is {color}
{her} {garment} is {color}
{her} jacket is {color}
{her} nose is big
{her} name is {name}
there is a {pet}
{her} ears are big
{her} lips are full
~{her} irises are {eyes}
~{her} outfit is {color}
""",
}

LISTS = {
    "color": "red, blue, black, white, green, gray, brown, yellow, pink, orange, purple, dark, "
    "light blue, dark blue, beige, golden, dark green, blond, navy, ~turquoise, ~crimson, ~violet, "
    "~magenta, ~teal",
    "garment": "shirt, t-shirt, jacket, dress, sweater, coat, blouse, suit, tie, scarf, hoodie, "
    "pullover, top, collar, vest, uniform, ~cardigan, ~jersey, ~waistcoat, ~parka, ~gown",
    "kind": "leather, striped, denim, checkered, silk, long, short, wool, dark, plain, tight, "
    "~tartan, ~polka-dot, ~velvet",
    "pair": "shoes, pants, jeans, gloves, trousers, boots, ~leggings, ~socks",
    "eyes": "blue, green, brown, dark, gray, black, hazel, light blue, bright, ~amber, ~emerald, "
    "~deep-set",
    "nation": "British, Italian, German, American, French, Japanese, Indian, Chinese, Mexican, "
    "Russian, Brazilian, Asian, ~Norwegian, ~Peruvian, ~Irish, ~Korean",
    "country": "Brazil, Italy, Spain, Germany, India, Japan, France, America, China, "
    "Russia, England, ~Norway, ~Peru, ~Vietnam, ~Kenya",
    "job": "nurse, doctor, teacher, soldier, cook, singer, farmer, student, "
    "scientist, football player, politician, ~plumber, ~lawyer, ~astronaut, ~pirate",
    "pet": "dog, cat, parrot, horse, puppy, kitten, rabbit, ~hamster, ~tortoise, ~owl",
    "thing": "cup of coffee, book, phone, glass of wine, flower, camera, microphone, ball, bag, "
    "bottle, guitar, toy, cigarette, ~violin, ~umbrella, ~trophy, ~sandwich",
    "hobby": "football, music, books, cooking, cars, animals, dancing, tennis, ~chess, ~sailing, "
    "~gardening",
    "name": "Anna, John, Maria, Peter, Sarah, Tom, Lisa, David, Emma, ~Olga, ~Rupert, ~Yuki",
    # of prompts about no face
    "object": "car, house, chair, table, smartphone, laptop, bicycle, airplane, boat, train, lamp, "
    "sofa, shoe, clock, castle, bridge, mountain, river, forest, flower, tree, book, cup, cake, "
    "robot, truck, sports car, piano, guitar, sunset, logo, map, door, window, kitchen, spaceship, "
    "~helicopter, ~lighthouse, ~teapot, ~skyscraper, ~volcano, ~tractor, ~wardrobe, ~submarine",
    "objects": "cars, trees, houses, flowers, apples, books, bottles, chairs, mountains, clouds, "
    "bananas, shoes, boats, ~balloons, ~windmills, ~lemons, ~candles",
    "beast": "cat, dog, horse, bird, fish, elephant, lion, tiger, cow, monkey, rabbit, bear, wolf, "
    "snake, butterfly, dinosaur, dragon, ~giraffe, ~penguin, ~camel, ~lobster, ~octopus",
    "beasts": "cats, dogs, horses, birds, cows, sheep, ducks, lions, elephants, ~penguins, "
    "~giraffes, ~squirrels",
    "food": "soup, pizza, pasta, salad, rice, noodles, ice cream, fruit, bread and butter, "
    "spaghetti, sushi, ~porridge, ~curry, ~dumplings",
    "dish": "bowl, plate, cup, piece, pot, ~slice, ~bucket",
    "place": "on the beach, on a table, in the street, in the garden, in the desert, at night, "
    "by the sea, in the rain, on the moon, in winter, at sunset, in the snow, in a forest, "
    "in the kitchen, on the road, ~by a waterfall, ~on a rooftop, ~in a cave, ~at dawn",
    "sight": "the Eiffel tower, New York, the Taj Mahal, Paris, the moon, the pyramids, London, "
    "the Great Wall of China, the solar system, Venice, Tokyo, the Golden Gate Bridge, the sun, "
    "a galaxy, planet earth, ~Big Ben, ~the Colosseum, ~Mount Fuji, ~Stonehenge, ~Machu Picchu",
    "number": "two, three, four, five, many, a few, seven, a lot of, ~eleven, ~several, ~a dozen",
    "size": "big, small, old, new, fast, huge, beautiful, wooden, broken, modern, expensive, long, "
    "young, ~rusty, ~gigantic, ~miniature",
    "style": "an oil painting of, a drawing of, a photo of, a picture of, draw, show me, i want, "
    "a sketch of, generate, a 3d render of, ~a watercolor of, ~a blueprint of, ~a woodcut of",
    "phrase": "hello, test, what is this, how are you, lorem ipsum dolor sit amet, nothing, "
    "what can you do, 12345, who are you, abc, help, how does this work, make it better, "
    "undo, more, again, hello world, something nice, surprise me, the weather is nice today, "
    "i like it, that is not what i meant, thank you, yes, no, ok, try again, another one, "
    "better quality, more detail, higher resolution, i don't know, what time is it, "
    "one plus one is two, how much does it cost, the train leaves at noon, save the picture, "
    "~good morning, ~roll the dice, ~whatever, ~lovely weather isn't it, ~do your magic, "
    "~the quick fox jumps over the lazy dog, ~never mind, ~tell me a joke, ~open sesame",
}

NONSENSE = """
a {size} {object}
a {color} {object}
a {color} {object}
{color} {object}
a {object}
{object}
a {size} {color} {object}
a {object} {place}
a {color} {object} {place}
{sight}
{sight} {place}
{number} {beasts}
{number} {beasts} {place}
{number} {color} {objects}
{color} {objects}
{color} {objects} {place}
a {beast}
a {color} {beast}
a {beast} {place}
a {size} {beast}
a {beast} and a {beast}
a {color} {beast} and a {size} {beast}
a {dish} of {food}
a {dish} of {food} {place}
{food}
a {color} {garment}
{style} a {object}
{style} a {color} {object}
{style} a {beast} {place}
{style} {sight}
{style} {number} {objects}
a {object} and a {color} {object}
a {object} next to a {object}
{phrase}
{phrase}
{phrase}
{keys} {keys}
{keys}
{keys} {keys} {keys}
~a {beast} riding a {object}
~a {object} made of {food}
~a {object} shaped like a {beast}
~a herd of {color} {beasts}
~inside of a {object}
~{sight} seen from a {object}
"""

KEYS = ("qwert", "asdfgh", "zxcvbn", "yuiop", "jkl", "hjk", "dsf")
BLANK = re.compile(r"\{(\w+)\}")
Side = Callable[[], str]


def draw_aside(dice: Dice, side: Side, slots: Sequence[str]) -> tuple[str, str]:
    """A slot out of some, and a phrase for it that no attribute covers; `{her}` is still blank."""
    slot = dice.weighted({slot: WEIGHTS[slot] for slot in slots if slot in WEIGHTS})
    return slot, fill(dice.ranked(lines(ASIDES[slot], side())), dice, side)


def fill(frame: str, dice: Dice, side: Side) -> str:
    """A frame with a word of its list in every blank."""

    def word(blank: re.Match[str]) -> str:
        if blank[1] == "keys":
            return mash(dice)
        if blank[1] not in LISTS:
            return blank[0]
        return dice.choice(listed(LISTS[blank[1]], side()))

    return BLANK.sub(word, frame)


def mash(dice: Dice) -> str:
    """Keys hit at random."""
    row = dice.choice(KEYS)
    return "".join(dice.choice(row) for _ in range(3 + int(dice.draw() * 5)))


def write_nonsense(dice: Dice, split: str) -> str:
    """A prompt that says nothing of a face; with an unseen word or frame if held out."""
    unseen = [split == "train"]

    def side() -> str:
        rare = split == "heldout" and dice.chance(0.6)
        unseen[0] |= rare
        return "heldout" if rare else "train"

    while True:
        text = fill(dice.choice(lines(NONSENSE, side())), dice, side)
        if unseen[0]:
            return articles(text)
