"""Word tables of edits: data only, in the format of `tedi.grammar.words`.

Slots of this file, beside those of captions: `imp` is a whole command (*smile more*); `off`, `rid`,
`shave` and `wipe` are things to take away (take off the *hat*, remove the *bangs*). `{his}` is a
possessive or "the", `{him}` and `{he}` are the person.
"""

# What is asked for, in words that only an edit has.
WISHES = """
gender=female
    adj: more feminine, feminine, womanly, ~girlish, ~more ladylike
    imp: change the gender to female, swap the gender to female, ~feminize {him}
gender=male
    adj: more masculine, masculine, manly, ~manlier, ~more of a man
    imp: change the gender to male, swap the gender to male, ~masculinize {him}
smile=slight, broad
    imp: smile, make {him} smile, let {him} smile, put a smile on {his} face, add a smile,
    imp: smile please, cheer up, say cheese, ~crack a smile, ~flash a smile, ~lighten up
smile=broad
    imp: laugh, grin, make {him} laugh, make {him} grin, show a big smile, ~burst out laughing
smile=none
    imp: stop smiling, don't smile, do not smile, be serious, look serious, stop grinning,
    imp: make {him} stop smiling, make {his} face serious, ~quit smiling, ~keep a straight face on
mouth_open=true
    imp: open {his} mouth, show {his} teeth, make {him} open {his} mouth, say aah, ~part {his} lips
mouth_open=false
    imp: close {his} mouth, shut {his} mouth, hide {his} teeth, ~press {his} lips together
hair_length=bald
    imp: shave {his} head, remove {his} hair, take away all {his} hair, cut off all {his} hair,
    imp: remove all the hair, ~shave {his} hair off, ~depilate {his} head
hair_length=long
    imp: let {his} hair grow long, grow {his} hair long, ~have {his} hair reach down {his} back
hair_length=short
    imp: cut {his} hair short, chop {his} hair short, ~crop {his} hair
hair_length=medium
    imp: cut {his} hair to shoulder length, ~bring {his} hair to shoulder length
hair_texture=wavy, curly
    imp: curl {his} hair, give {him} a perm, perm {his} hair, add curls, ~put {his} hair in curlers
hair_texture=straight
    imp: straighten {his} hair, remove {his} curls, remove the waves, iron {his} hair,
    imp: ~smooth out {his} curls
hair_color=blond
    imp: dye {his} hair blond, color {his} hair blonde, bleach {his} hair blond,
    imp: turn {him} into a blonde, ~tint {his} hair blonde
each hair_color=black, brown, red, gray
    imp: dye {his} hair {value}, color {his} hair {value}, paint {his} hair {value},
    imp: change {his} hair color to {value}, ~tint {his} hair {value}
bangs=true
    imp: cut bangs, cut {his} hair into bangs, comb {his} hair over {his} forehead, ~style a fringe
bangs=false
    imp: comb {his} hair back, pull {his} hair back, brush {his} hair back, show {his} forehead,
    imp: clear {his} forehead, ~sweep {his} hair off {his} face, ~bare {his} brow
beard=full, goatee
    imp: grow a beard, let {him} grow a beard, add a beard, ~sprout a beard
beard=full
    imp: grow a full beard, ~let {his} whole beard grow in
beard=mustache
    imp: grow a mustache, add a moustache, ~cultivate a moustache
beard=none
    imp: shave, shave {him}, shave {his} face, shave clean, give {him} a shave, get a shave,
    imp: have {him} shaved, ~run a razor over {his} face
glasses=eyeglasses
    imp: put on glasses, put on {his} glasses, add glasses, add spectacles, ~slip on eyeglasses
glasses=sunglasses
    imp: put on sunglasses, put on shades, add sunglasses, add dark glasses, ~slip on sunglasses
glasses=none
    imp: show {his} eyes without glasses, ~swap {his} glasses for contacts
hat=true
    imp: put on a hat, put a hat on, put a cap on, add a hat, add a cap, ~pop a hat on
hat=false
    imp: uncover {his} head, show {his} head without a hat, ~doff {his} hat
earrings=true
    imp: put earrings in, put on earrings, add earrings, add some earrings, ~pierce {his} ears
makeup=true
    imp: put on makeup, put makeup on, add makeup, add lipstick, apply makeup, put on lipstick,
    imp: add some make-up, ~doll {him} up, ~paint {his} lips
makeup=false
    imp: wipe off the makeup, wash off the makeup, wipe {his} make-up off, clean off the lipstick,
    imp: ~scrub {his} face clean
each skin=light, dark
    imp: make {his} skin {value}, change {his} skin to {value}, change the skin color to {value},
    imp: make {him} {value}-skinned, ~turn {his} complexion {value}
skin=medium
    imp: give {him} a tan, tan {his} skin, make {his} skin tan, make {his} skin olive,
    imp: ~send {him} to a tanning salon
chubby=true
    imp: make {him} chubby, make {his} face round, add a double chin, make {him} fat,
    imp: ~feed {him} well
chubby=false
    imp: make {him} slim, make {his} face thin, make {him} thin, ~put {him} on a diet
thick_brows=true
    imp: make {his} eyebrows thick, make {his} eyebrows bushy, ~beef up {his} brows
thick_brows=false
    imp: make {his} eyebrows thin, pluck {his} eyebrows, ~wax {his} eyebrows
each pose=left, right
    imp: turn {his} head to the {value}, turn {him} to the {value}, turn {his} head {value},
    imp: look {value}, look to the {value}, turn {value}, rotate {his} head to the {value},
    imp: turn {his} face to the {value}, face {value}, make {him} look {value}, turn to the {value},
    imp: ~swivel {his} head {value}, ~crane to the {value}
pose=left, right
    imp: turn {his} head to the side, look away, turn to the side, look to the side,
    imp: ~avert {his} face
pose=front
    imp: look at the camera, face the camera, look straight ahead, look at me, face forward,
    imp: turn {his} head to the front, turn {him} to the camera, look straight into the camera,
    imp: straighten {his} head, ~make eye contact
each background=white, black, gray, brown, beige, green, blue, red, orange, yellow, pink, purple
    imp: make the background {value}, change the background to {value}, a {value} background,
    imp: set the background to {value}, {value} background, ~recolor the backdrop in {value}
each background=dark, bright, plain, blurred
    imp: make the background {value}, change the background to {value}, a {value} background,
    imp: {value} background, a more {value} background, ~have the backdrop {value}
background=dark
    imp: darken the background, make the background darker, ~dim the backdrop
background=bright
    imp: brighten the background, lighten the background, ~light up the backdrop
background=blurred
    imp: blur the background, blur what is behind {him}, ~soften the backdrop
background=plain
    imp: remove the background, clean up the background, a simple background, ~strip the backdrop
background=outdoor
    imp: put {him} outdoors, put {him} outside, move {him} outside, change the scene to outdoors,
    imp: ~take {him} into the open
background=indoor
    imp: put {him} indoors, put {him} in a room, move {him} inside, ~bring {him} indoors
background=trees
    imp: put trees behind {him}, add trees in the background, ~plant trees behind {him}
background=wall
    imp: put a wall behind {him}, put {him} in front of a wall, ~back {him} up against a wall
background=sky
    imp: put the sky behind {him}, show the sky in the background, ~set {him} against the heavens
"""

# Things that an edit takes away.
REMOVALS = """
smile=none
    rid: smile, grin, smiling, laugh, ~smirk on {his} face, ~gleeful look
bangs=false
    rid: bangs, fringe, bangs, hair on {his} forehead, ~forelock
beard=none
    rid: beard, mustache, moustache, facial hair, stubble, goatee, ~bristle, ~chin hair
    shave: beard, mustache, moustache, stubble, goatee, facial hair, ~chin hair
glasses=none
    off: glasses, eyeglasses, spectacles, sunglasses, specs, shades, eyewear, ~goggles, ~lenses
hat=false
    off: hat, cap, beanie, headwear, ~lid, ~bobble hat
earrings=false
    off: earrings, ear rings, earring, jewelry in {his} ears, ~ear bling
makeup=false
    rid: makeup, make-up, make up, lipstick, ~rouge, ~eye shadow
    wipe: makeup, make-up, lipstick, make up, ~rouge, ~eye shadow
chubby=false
    rid: double chin, chubby cheeks, fat, fat cheeks, extra weight, ~surplus weight, ~baby fat
"""

# What is to become more or less: attribute=+1 is onwards in `lexicon.ORDERED`.
MOVES = """
age=+1
    adj: older, older, older looking, more old, more mature, more aged, ~wearier with age,
    adj: ~more advanced in years
    pred: ten years older, 20 years older, twenty years older, a few years older, ~a decade older
    has: more wrinkles, more wrinkled skin, an older face, an older look, ~extra wrinkles
    imp: age {him}, make {him} age, add some years, let {him} grow older, add wrinkles, get older,
    imp: ~put some years on {him}, ~fast-forward {him} a few decades
age=-1
    adj: younger, younger, younger looking, more young, more youthful, less old, ~fresher-faced
    pred: ten years younger, 20 years younger, twenty years younger, a few years younger,
    pred: ~a decade younger
    has: fewer wrinkles, less wrinkles, a younger face, a younger look, ~a less lined face
    imp: rejuvenate {him}, remove the wrinkles, take away some years, get younger,
    imp: take ten years off {him}, ~turn back the clock, ~de-age {him}
smile=+1
    adj: happier, more cheerful, more smiling, more joyful, more happy, smilier, ~cheerier
    has: more smile, a bigger smile, a wider smile, a broader smile, a stronger smile,
    has: a larger smile,
    has: more of a smile, a happier face, ~a heartier smile
    imp: smile more, smile wider, increase the smile, make {his} smile bigger, smile a bit more,
    imp: make {his} smile wider, make {him} smile more, enlarge the smile, ~amplify the smile,
    imp: ~crank up the smile
smile=-1
    adj: more serious, less smiling, less happy, less cheerful, sterner, more stern, ~graver,
    adj: ~less amused
    has: less smile, less of a smile, a smaller smile, a weaker smile, a fainter smile,
    has: a less broad smile, a more serious face, ~a more subdued smile
    imp: smile less, reduce the smile, tone down the smile, make {his} smile smaller,
    imp: make {him} smile less, decrease the smile, ~dial back the smile, ~dampen the smile
mouth_open=+1
    has: a more open mouth, a wider open mouth, a mouth more open, ~a less closed mouth
    imp: open {his} mouth more, open {his} mouth wider, open {his} mouth a bit,
    imp: open {his} mouth a little more, make {his} mouth more open, ~widen the gap of {his} lips
mouth_open=-1
    has: a less open mouth, a mouth less open, a more closed mouth, ~a narrower mouth opening
    imp: close {his} mouth a bit, close {his} mouth more, close {his} mouth a little,
    imp: open {his} mouth less, make {his} mouth less open, ~bring {his} lips closer
hair_color=+1
    has: lighter hair, fairer hair, blonder hair, a lighter hair color, ~paler hair
    imp: lighten {his} hair, make {his} hair lighter, bleach {his} hair a bit,
    imp: ~give {him} highlights
hair_color=-1
    has: darker hair, less blond hair, a darker hair color, ~hair some shades darker
    imp: darken {his} hair, make {his} hair darker, ~deepen {his} hair color
hair_length=+1
    has: longer hair, longer hair, more hair, a longer haircut, hair a bit longer, ~lengthier hair
    imp: make {his} hair longer, let {his} hair grow, grow {his} hair, lengthen {his} hair,
    imp: add hair extensions, add some length to {his} hair, ~let {his} mane grow
hair_length=-1
    has: shorter hair, shorter hair, less hair, a shorter haircut, hair a bit shorter,
    has: ~less long hair
    imp: cut {his} hair, make {his} hair shorter, shorten {his} hair, trim {his} hair,
    imp: cut {his} hair shorter, give {him} a haircut, ~snip {his} hair, ~send {him} to the barber
hair_texture=+1
    adj: curlier, more curly, ~more frizzy
    has: curlier hair, wavier hair, more curls, more curly hair, more wavy hair, more waves,
    has: tighter curls, ~frizzier hair
    imp: make {his} hair curlier, make {his} hair wavier, make {his} hair more curly,
    imp: add some waves, ~put more bounce in {his} curls
hair_texture=-1
    adj: less curly, less wavy, ~less frizzy
    has: straighter hair, less curly hair, less wavy hair, fewer curls, less curls, sleeker hair,
    has: looser curls, ~calmer hair
    imp: make {his} hair straighter, make {his} hair less curly, make {his} hair less wavy,
    imp: ~relax {his} curls
bangs=+1
    has: longer bangs, more bangs, fuller bangs, a longer fringe, thicker bangs, ~heavier bangs
    imp: make {his} bangs longer, let {his} bangs grow, ~grow {his} fringe
bangs=-1
    has: shorter bangs, less bangs, a shorter fringe, fewer bangs, thinner bangs, ~wispier bangs
    imp: make {his} bangs shorter, trim {his} bangs, cut {his} bangs, ~snip {his} fringe
beard=+1
    adj: more bearded, hairier in the face, ~beardier
    has: a fuller beard, a thicker beard, a longer beard, a bigger beard, more beard,
    has: a bushier beard,
    has: more facial hair, a denser beard, ~a mightier beard, ~more growth on {his} chin
    imp: let {his} beard grow, grow {his} beard out, make {his} beard longer,
    imp: make {his} beard thicker,
    imp: make {his} beard fuller, ~fill out {his} beard
beard=-1
    adj: less bearded, less hairy in the face, ~better groomed
    has: a shorter beard, a thinner beard, less beard, less facial hair, a lighter beard,
    has: a smaller beard, ~a sparser beard, ~less growth on {his} chin
    imp: trim {his} beard, shorten {his} beard, make {his} beard shorter, cut {his} beard,
    imp: make {his} beard thinner, ~tidy up {his} beard
makeup=+1
    has: more makeup, more make-up, heavier makeup, stronger makeup, more lipstick, more make up,
    has: redder lips, ~bolder makeup, ~thicker mascara
    imp: add more makeup, make {his} makeup stronger, put on more makeup, ~pile on the makeup
makeup=-1
    has: less makeup, less make-up, lighter makeup, less lipstick, less make up, fainter makeup,
    has: a more natural face, ~subtler makeup
    imp: tone down the makeup, reduce the makeup, use less makeup, make {his} makeup lighter,
    imp: ~go easy on the makeup
skin=+1
    adj: darker, darker-skinned, more tanned, tanner, darker skinned, browner, ~more bronzed
    has: darker skin, a darker skin tone, darker skin color, more tan, more of a tan, browner skin,
    has: a darker face, ~duskier skin, ~a deeper complexion
    imp: darken {his} skin, make {his} skin darker, tan {him} a bit, ~deepen {his} skin tone
skin=-1
    adj: paler, lighter-skinned, less tanned, lighter skinned, more pale, whiter, ~fairer of face
    has: lighter skin, paler skin, fairer skin, a lighter skin tone, less tan, whiter skin,
    has: a paler face, ~a fairer complexion, ~less colour in {his} face
    imp: lighten {his} skin, make {his} skin lighter, make {his} skin paler,
    imp: ~take some colour out of {his} skin
chubby=+1
    adj: heavier, fatter, chubbier, plumper, more chubby, rounder, bigger, more overweight,
    adj: ~stouter,
    adj: ~pudgier
    has: a rounder face, fuller cheeks, more weight, a fuller face, chubbier cheeks, rounder cheeks,
    has: a fatter face, ~more meat on {his} bones
    imp: put on weight, gain weight, put on some weight, add some weight, make {his} face rounder,
    imp: make {him} gain weight, ~fatten {him} up, ~pile on the pounds
chubby=-1
    adj: slimmer, thinner, skinnier, less chubby, less fat, less heavy, more slim, slenderer,
    adj: ~leaner, ~less pudgy
    has: a slimmer face, a thinner face, thinner cheeks, less weight, a narrower face,
    has: less round cheeks,
    has: ~leaner cheeks, ~a gaunter face
    imp: lose weight, make {him} lose weight, slim {his} face, make {his} face thinner,
    imp: lose some weight, make {his} face slimmer, ~slim {him} down, ~shed some pounds
thick_brows=+1
    has: thicker eyebrows, bushier eyebrows, thicker brows, fuller eyebrows, heavier eyebrows,
    has: bigger eyebrows, stronger eyebrows, ~denser brows, ~wilder eyebrows
    imp: make {his} eyebrows thicker, thicken {his} eyebrows, make {his} eyebrows bushier,
    imp: ~bulk up {his} brows
thick_brows=-1
    has: thinner eyebrows, thinner brows, less bushy eyebrows, finer eyebrows, slimmer eyebrows,
    has: less eyebrows, ~sparser eyebrows, ~daintier brows
    imp: make {his} eyebrows thinner, thin {his} eyebrows, trim {his} eyebrows, ~tweeze {his} brows
earrings=+1
    has: bigger earrings, larger earrings, more earrings, longer earrings, ~chunkier earrings
    imp: make {his} earrings bigger, ~upsize {his} earrings
earrings=-1
    has: smaller earrings, fewer earrings, less earrings, shorter earrings, ~daintier earrings
    imp: make {his} earrings smaller, ~downsize {his} earrings
"""

DEGREES = """
a bit, a little, much, slightly, a lot, even, way, a little bit, far, somewhat, quite a bit,
~considerably, ~a tad, ~a touch, ~noticeably, ~markedly
"""

# The person of an edit: {him}, and {his} where it is the person's own.
PEOPLE = {
    "he": "him, him, him, him, the man, this man, this person, ~this gent, ~that fella",
    "she": "her, her, her, her, the woman, this woman, this person, ~this madam, ~that missus",
    "they": "them, them, the person, this person, the face, this face, it, ~the sitter, ~the model",
}

# A wish by itself, as a command, and as what the person shall do; `not` marks denials.
WITHOUT = "no {x}\nno more {x}\nwithout {x}\nwithout the {x}\nwithout {his} {x}\n~minus the {x}"
BARE = {
    "has": "{x}\n{x}\nwith {x}\n~plus {x}",
    "has not": "{x}\nwith {x}",
    "worn": "{x}\nwith {x}\nwearing {x}\nadd {x}\n~plus {x}",
    "worn not": "{x}\nwearing {x}",
    "adj": "{x}",
    "pred": "{x}",
    "post": "{x}",
    "hair": "{x} hair\n{x} hair\nwith {x} hair\nhair {x}\n{his} hair {x}\n~{x} hair instead",
    "does": "{x}",
    "clause": "{x}",
    "noun": "a {x}\n{x}\nas a {x}\nbut as a {x}\n~a {x} instead",
    "imp": "{x}",
    "off": WITHOUT + "\n{x} off",
    "rid": WITHOUT,
    "shave": "no {x}\n{x} off\nwithout {his} {x}\n~{x} begone",
    "wipe": "no {x}\n{x} off\nwithout {his} {x}\n~{x} begone",
}
RID = "remove the {x}\nremove {his} {x}\nget rid of the {x}\nget rid of {his} {x}\ndelete the {x}\n"
RID += "lose the {x}\ntake away the {x}\ntake {his} {x} away\ndrop the {x}\ni don't want the {x}\n"
RID += "erase the {x}\nmake it without {x}\n~ditch the {x}\n~do away with the {x}\n~scrap {his} {x}"
COMMANDS = {
    "has": "give {him} {x}\ngive {him} {x}\ngive {him} {x}\nadd {x}\nmake {him} have {x}\n"
    "let {him} have {x}\nshow {him} with {x}\n~furnish {him} with {x}\n~endow {him} with {x}",
    "has not": "give {him} {x}\nmake {him} have {x}\nshow {him} with {x}\n~leave {him} with {x}",
    "worn": "put {x} on {him}\nadd {x}\ngive {him} {x}\nlet {him} wear {x}\nmake {him} wear {x}\n"
    "put on {x}\nshow {him} wearing {x}\n~have {him} sport {x}\n~kit {him} out with {x}",
    "worn not": "let {him} wear {x}\nmake {him} wear {x}\nshow {him} wearing {x}\n"
    "~have {him} use {x}",
    "adj": "make {him} {x}\nmake {him} {x}\nmake {him} look {x}\nlet {him} look {x}\n"
    "make it {x}\nchange {him} to be {x}\nshow {him} {x}\n~render {him} {x}\n"
    "~alter {him} to be {x}",
    "pred": "make {him} {x}\nlet {him} be {x}\nshow {him} {x}\nmake it {x}\n~depict {him} {x}",
    "post": "show {him} {x}\nmake it {x}\nmake {him} {x}\n~depict {him} {x}",
    "hair": "make {his} hair {x}\ngive {him} {x} hair\nchange {his} hair to {x}\n"
    "turn {his} hair {x}\nmake the hair {x}\ni want {x} hair\n~switch to {x} hair\n"
    "~go for {x} hair",
    "does": "make {him} {x}\nlet {him} {x}\nhave {him} {x}\n~get {him} to {x}",
    "clause": "make it so that {x}\nchange it so {x}\nmake sure {x}\n~see to it that {x}",
    "noun": "make {him} a {x}\nturn {him} into a {x}\nchange {him} to a {x}\nmake it a {x}\n"
    "change {him} into a {x}\n~transform {him} into a {x}\n~morph {him} into a {x}",
    "imp": "{x}",
    "off": RID + "\ntake off the {x}\ntake off {his} {x}\ntake the {x} off\ntake {his} {x} off\n"
    "take off the {x}\n~pull the {x} off\n~whip off {his} {x}",
    "rid": RID,
    "shave": "shave the {x} off\nshave off the {x}\nshave off {his} {x}\nshave {his} {x}\n"
    "shave {his} {x} off\n~raze {his} {x}",
    "wipe": "wipe off the {x}\nwipe the {x} off\nwash off the {x}\nwash {his} {x} off\n"
    "clean off {his} {x}\n~scrub away the {x}",
}
NOTHING = "have no {x}\nnot have the {x}\nlose the {x}\nbe without {x}\n~do without the {x}"
ACTS = {
    "has": "have {x}\nget {x}\n~end up with {x}",
    "has not": "have {x}",
    "worn": "wear {x}\nhave {x}\nput on {x}\n~show up in {x}",
    "worn not": "wear {x}",
    "adj": "be {x}\nlook {x}\nbecome {x}\n~turn out {x}",
    "pred": "be {x}\n~end up {x}",
    "post": "be {x}\n~end up {x}",
    "hair": "have {x} hair\nhave {x} hair\n~go for {x} hair",
    "does": "{x}",
    "imp": "{x}",
    "noun": "be a {x}\nbecome a {x}\n~turn out to be a {x}",
    "off": "take off the {x}\nnot wear the {x}\nremove {his} {x}\n" + NOTHING,
    "rid": NOTHING,
    "shave": "shave the {x} off\nshave {his} {x}\n" + NOTHING,
    "wipe": "wipe off the {x}\nwash off {his} {x}\n" + NOTHING,
}

# Around all of an edit.
AROUND_BARE = """
{x}
{x}
{x}
{x}
{x}
{x}
{x}
{x} please
{x}, please
but {x}
now {x}
same person but {x}
same face, {x}
the same but {x}
and now {x}
this person but {x}
~again but {x}
~ditto but {x}
~otherwise alike but {x}
"""
AROUND_COMMANDS = """
{x}
{x}
{x}
{x}
{x}
{x}
please {x}
can you {x}
could you {x}
can you {x}?
could you please {x}?
{x} please
{x}, please
now {x}
i want you to {x}
i'd like you to {x}
you should {x}
please can you {x}
next, {x}
ok now {x}
would you {x}
try to {x}
{x}, keep everything else
{x} but keep the rest
{x} in this picture
~kindly {x}
~would you mind if you {x}
~be so kind as to {x}
~go ahead and {x}
~i'd appreciate it if you could {x}
"""
AROUND_ACTS = """
{he} should {x}
{he} should {x}
i want {him} to {x}
i would like {him} to {x}
let {him} {x}
can {he} {x}?
could {he} {x}
{he} must {x}
i wish {he} could {x}
what if {he} would {x}
how would {he} look if {he} would {x}
~{he} ought to {x}
~i'd prefer {him} to {x}
~may {he} {x}
"""
# Verbs of `imp` that the person of an edit can do: "she should smile more".
DEEDS = """
smile, laugh, grin, stop, be, look, open, close, shut, show, let, cut, grow, shave, get, put,
turn, face, lose, gain, cheer, crack, flash, burst, quit, keep, part, slip, pop, doff, shed
"""
JOINS = {" and ": 6, ", ": 5, ", and ": 2, " and also ": 0.5, " + ": 0.4, "; ": 0.4, " but ": 0.4}
