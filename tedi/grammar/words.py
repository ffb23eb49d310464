"""Word tables of the caption grammar: data only, read once by `tedi.grammar.lexicon`.

A block opens with what its phrases say, `attribute=value, value` (several joined by `&`), and,
after `given`, what they take for granted: "woman" says female and presupposes an adult. `each`
before it makes one block a value, which its phrases call `{value}`. Each line below is one
grammatical slot and its phrases, the most usual first; a new synonym is one word there.

A phrase after `~` is held out: captions for training never contain it.

    slot    stands                                 example
    attr    before the noun only                   an *8-year-old* girl
    noun    as the head                            a *woman*
    adj     before the noun, after "is"            a *smiling* woman; she is *smiling*
    pred    after the noun, after "is"             a woman *looking left*; she is *looking left*
    post    after the noun only                    a woman *without glasses*
    has     after "with" and "has"                 a woman with *a big smile*
    worn    after "wearing", "in", "with"          a woman wearing *a hat*
    hair    before "hair", after "her hair is"     a woman with *long* *blond* hair
    does    as the verb of a sentence              she *smiles broadly*
    clause  as a whole sentence                    *her mouth is open*

`{her}` becomes her, his or their, `{n}` an age in years.
"""

PHRASES = """
gender=female given age=young adult, middle-aged, old
    noun: woman, woman, lady, woman, ~gal, ~gal, ~dame, ~gal,
    noun: mother, mom, businesswoman, aunt, actress, woman, wife, ~housewife, ~spinster
gender=female
    noun: female, ~female human,
    noun: female person, sister, ~she-person
    attr: female
gender=male given age=young adult, middle-aged, old
    noun: man, man, guy, man, gentleman, fellow, dude, ~bloke, ~chap, ~bloke, ~chap,
    noun: father, dad, businessman, uncle, husband, guy, man, ~geezer, ~fella
gender=male
    noun: male, ~male human,
    noun: male person, brother, ~he-person
    attr: male

age=baby
    noun: baby, toddler, infant, little baby, small baby, ~tot, ~babe, ~newborn baby,
    noun: newborn, bub, ~suckling
    post: {n} years old, aged {n}, ~at the age of {n}
    attr: {n}-year-old
    pred: only a few months old, one year old, ~still in diapers
age=child
    noun: child, kid, little kid, young child, small child, little child, ~youngster, ~schoolkid,
    noun: school child, school kid, preteen, tween, ~nipper, ~tyke
    post: aged {n}, about {n} years old, age {n}, {n} yo, ~{n} yrs old
    pred: {n} years old, around {n} years old, ~at the age of {n},
    pred: five years old, ten years old, ~of primary school age
    attr: {n}-year-old, {n} year old,
    attr: school-age, five-year-old, seven-year-old, ten-year-old, ~primary-school
    clause: {her} age is about {n}
age=teen
    noun: teenager, teen, adolescent, young teenager, high school student, ~youth, ~teenaged kid,
    noun: high schooler, ~sixth-former
    attr: teenage, teen, adolescent, {n}-year-old, {n} year old, ~teenaged,
    attr: sixteen-year-old, ~pubescent
    pred: in {her} teens, {n} years old, ~not yet twenty,
    pred: sixteen years old, seventeen, under twenty, in {her} late teens, ~going on eighteen
    post: aged {n}, about {n} years old, ~at the age of {n}
    clause: {her} age is about {n}
age=teen, young adult given age=young adult
    adj: young, youthful, young looking, ~young-looking, ~youngish
    pred: still young, quite young, ~of young age
age=young adult
    noun: young adult, young person, twenty-something, ~twentysomething,
    noun: college student, university student, ~millennial
    attr: {n}-year-old, {n} year old, twenty-something, thirty-year-old, ~20-something,
    attr: twenty-year-old, twenty-five-year-old, ~thirtyish
    pred: in {her} twenties, in {her} thirties, in {her} 20s, in {her} 30s, {n} years old,
    pred: in {her} early thirties, in {her} late twenties, around thirty, ~in {her} mid-twenties,
    pred: in {her} early twenties, in {her} mid-thirties, twenty-five years old, about 25,
    pred: thirty years old, around 30, ~fresh out of college
    post: aged {n}, about {n} years old, age {n}, {n} yo, ~at the age of {n}, ~{n} yrs old
    clause: {her} age is about {n}
age=middle-aged
    noun: middle-aged person, middle aged adult, ~person of middle age,
    noun: forty-something, fifty-something, ~midlifer
    attr: mature, {n}-year-old, {n} year old, ~midlife,
    attr: forty-year-old, fifty-year-old, fifty-something, ~fiftyish
    adj: middle-aged, middle aged, ~fortyish
    pred: in {her} forties, in {her} fifties, in {her} 40s, in {her} 50s, {n} years old,
    pred: around fifty, in {her} late forties, of middle age, in {her} mid-forties, ~in midlife,
    pred: around forty, in {her} early fifties, in {her} mid-fifties, about fifty, around 50,
    pred: forty-five years old, in {her} early forties, ~pushing fifty
    post: aged {n}, about {n} years old, age {n}, {n} yo, ~at the age of {n}, ~{n} yrs old
    clause: {her} age is about {n}
age=middle-aged, old
    attr: older, ~not so young
    pred: no longer young, not young anymore, ~getting on in years
    adj: wrinkled, wrinkly, ~wizened
    has: wrinkles, a wrinkled face, deep wrinkles, ~a lined face, ~crow's feet
age=old
    noun: senior, elderly person, old person, senior citizen, pensioner, ~elder, ~oldster,
    noun: old-age pensioner, retiree, old folk, old timer, ~geriatric, ~octogenarian
    attr: senior, {n}-year-old, {n} year old,
    attr: seventy-year-old, eighty-year-old, ~venerable
    adj: old, elderly, aged, very old, ~aging, ~ageing
    pred: in {her} sixties, in {her} seventies, in {her} 60s, in {her} 70s, in old age,
    pred: {n} years old, over sixty, well over sixty, ~past sixty, ~long retired,
    pred: in {her} eighties, retired, seventy years old, around 70, in {her} late sixties,
    pred: in {her} mid-seventies, of old age, very old, ~in {her} golden years
    post: aged {n}, about {n} years old, age {n}, {n} yo, ~at the age of {n}, ~{n} yrs old
    clause: {her} age is about {n}
age=young adult, middle-aged, old
    noun: adult, ~grown-up
    attr: adult

gender=female & age=baby
    noun: baby girl, toddler girl, infant girl, little baby girl, female baby, ~girl toddler
gender=male & age=baby
    noun: baby boy, toddler boy, infant boy, little baby boy, male baby, ~boy toddler
gender=female & age=child, teen
    noun: girl, young girl, girl, ~lass,
    noun: school girl, daughter, ~wee lass
gender=male & age=child, teen
    noun: boy, young boy, boy, ~young lad,
    noun: lad, school boy, son, ~laddie
gender=female & age=child
    noun: little girl, small girl, ~schoolgirl, ~lassie,
    noun: small little girl, ~little missy
gender=male & age=child
    noun: little boy, small boy, ~schoolboy, ~little lad,
    noun: small little boy, ~little fellow
gender=female & age=teen
    noun: teenage girl, teen girl, adolescent girl, female teenager, female teen, ~teenaged girl
gender=male & age=teen
    noun: teenage boy, teen boy, adolescent boy, male teenager, male teen, ~teenaged boy
gender=female & age=teen, young adult
    noun: young woman, young lady, young female, ~young gal
gender=male & age=teen, young adult
    noun: young man, young guy, young male, young dude, ~young chap, ~young bloke
gender=female & age=young adult
    noun: young woman, young lady, ~woman of about {n}
gender=male & age=young adult
    noun: young man, young guy, ~man of about {n}
gender=female & age=middle-aged
    noun: middle-aged woman, middle-aged lady, mature woman, middle aged woman, ~woman of about {n}
gender=male & age=middle-aged
    noun: middle-aged man, middle-aged guy, mature man, middle aged man, ~man of about {n}
gender=female & age=middle-aged, old
    noun: older woman, older lady, ~older gal
gender=male & age=middle-aged, old
    noun: older man, older gentleman, older guy, ~older bloke
gender=female & age=old
    noun: old woman, elderly woman, old lady, elderly lady, grandmother, senior woman, grandma,
    noun: granny, ~grandmotherly woman, ~woman of about {n}, ~nana,
    noun: gran, old grandma, ~little old lady
gender=male & age=old
    noun: old man, elderly man, elderly gentleman, old guy, grandfather, senior man, grandpa,
    noun: old gentleman, ~old chap, ~grandad, ~man of about {n},
    noun: gramps, old grandpa, ~old codger
gender=female & hair_color=blond
    noun: blonde, blonde, blond woman, ~blondie
gender=female & hair_color=brown
    noun: brunette, brunette, brunette woman, ~brown-haired gal
gender=female & hair_color=black
    noun: black-haired woman, ~raven-haired gal
hair_color=red
    noun: redhead, ginger, red head, ~carrot-top
    hair: gingery, fire red, carrot red, orange-red, dark red, ~titian
    has: red hair, ginger hair, ~hair like a fox

smile=slight, broad
    adj: smiling, happy, cheerful, friendly looking, happy looking, pleased, smiley, ~merry,
    adj: ~good-humoured, ~jolly,
    adj: friendly, amused, cheery, glad, good-natured, ~chirpy
    pred: smiling, smiling at the camera, smiling happily, happy, smiling nicely,
    pred: smiling for the photo, ~all smiles, ~wearing a smile,
    pred: having a smile, in a good mood, smiling into the camera, with a happy look,
    pred: ~in high spirits
    post: with a smile on {her} face
    has: a smile, a friendly smile, a nice smile, a happy face, a smiling face, a happy expression,
    has: a cute smile, a beautiful smile, ~a smiling expression, ~a pleasant smile,
    has: a warm smile, a happy look, smile, smiling face, a charming smile, smiling eyes,
    has: a sweet smile, a lovely smile, ~an amused look
    does: smiles, smiles at the camera, smiles happily, is smiling, smiles for the picture,
    does: looks happy, has a smile on {her} face, ~seems to be happy, ~greets us with a smile,
    does: has a nice smile, is happy, looks cheerful, looks friendly, ~seems pleased
    clause: {her} face is smiling, ~there is a smile on {her} face
smile=broad
    adj: grinning, laughing, broadly smiling, beaming, very happy, joyful, widely smiling, ~gleeful,
    adj: ~delighted, ~overjoyed,
    adj: ecstatic, giggling, chuckling, extremely happy, joyous, toothy, ~elated, ~exuberant
    pred: grinning, laughing, smiling broadly, smiling widely, smiling with teeth, beaming,
    pred: grinning from ear to ear, laughing out loud, smiling a lot, ~cracking up, ~radiating joy,
    pred: showing a big smile, laughing happily, giggling, laughing hard, roaring with laughter,
    pred: ~in stitches
    has: a big smile, a broad smile, a wide smile, a big grin, a toothy smile, a bright smile,
    has: a wide grin, a huge smile, a large smile, a toothy grin, a beaming smile, a full smile,
    has: ~a dazzling smile, ~an ear-to-ear grin, ~a radiant smile,
    has: a grin, a laugh, a laughing face, a very big smile, big smile, an enormous smile,
    has: a smile from ear to ear, a cheesy grin, ~a belly laugh
    does: smiles broadly, grins, laughs, beams, smiles widely, grins widely, grins at the camera,
    does: shows a big smile, laughs happily, is laughing, ~bursts with laughter,
    does: is beaming, is grinning, laughs out loud, giggles, ~chortles
    clause: {her} smile is big, {her} smile is wide, {her} smile shows {her} teeth,
    clause: ~{her} grin is huge,
    clause: {her} face is laughing, ~{her} face lights up with laughter
smile=slight
    adj: slightly smiling, softly smiling, gently smiling, ~half-smiling,
    adj: smirking, faintly smiling, mildly smiling, ~simpering
    pred: smiling slightly, smiling a little, smiling softly, smiling gently, almost smiling,
    pred: smiling a bit, smirking, smiling faintly, ~smiling subtly, ~barely smiling,
    pred: smiling lightly, smiling a tiny bit, smiling shyly, ~with lips curling up
    has: a slight smile, a small smile, a faint smile, a gentle smile, a soft smile, a half smile,
    has: a little smile, a light smile, a smirk, a subtle smile, a hint of a smile, a shy smile,
    has: ~a trace of a smile, ~a mild smile, ~a Mona Lisa smile,
    has: a tiny smile, a thin smile, a weak smile, a mysterious smile, a discreet smile,
    has: ~an inkling of a smile
    does: smiles slightly, smiles a little, smiles softly, smiles gently, smirks, smiles faintly,
    does: gives a small smile, ~smiles subtly, ~smiles but barely,
    does: smiles a bit, smiles shyly, is smiling a little, ~simpers
    clause: {her} smile is small, {her} smile is faint, ~{her} smile is barely visible
smile=slight & mouth_open=false
    has: a closed-mouth smile, a closed mouth smile, a smile with closed lips, ~a tight-lipped smile
    pred: smiling with closed mouth, smiling with {her} mouth closed, ~smiling without showing teeth
smile=broad & mouth_open=true
    has: an open-mouth smile, a big open smile, an open-mouthed smile, ~a wide open grin
    pred: smiling with {her} mouth open, laughing with open mouth, ~laughing open-mouthed
smile=none
    adj: serious, unsmiling, serious looking, stern, solemn, straight-faced, neutral, ~stone-faced,
    adj: ~stony-faced, ~poker-faced, ~earnest,
    adj: frowning, pouting, expressionless, emotionless, grim, grumpy, pensive, thoughtful, sullen,
    adj: stoic, scowling, serious-looking, non-smiling, humorless, ~dour, ~glum, ~impassive
    pred: not smiling, looking serious, not smiling at all, serious, unsmiling,
    pred: looking seriously at the camera, ~looking earnest, ~keeping a poker face,
    pred: frowning, pouting, without expression, showing no emotion, looking stern, looking grim,
    pred: with a serious look, looking thoughtful, scowling, ~glowering, ~pulling a long face
    post: with no smile, with a straight face, without a smile, without smiling, w/o smile,
    post: ~without any trace of a grin
    has: a neutral expression, a serious face, a serious expression, no smile, a straight face,
    has: a neutral face, a serious look, a blank expression, neutral expression, a stern look,
    has: a calm expression, ~a poker face, ~a deadpan expression, ~an earnest look,
    has: a frown, a stern expression, a grim face, no expression, a pout, a pensive look,
    has: serious face, an emotionless face, a sullen face, a resting face, ~a glower, ~a sober look
    does: isn't smiling, is not smiling, doesn't smile, looks serious, does not smile, has no smile,
    does: looks seriously at the camera, keeps a straight face, ~remains unsmiling,
    does: ~keeps a poker face,
    does: frowns, looks stern, pouts, shows no emotion, looks grumpy, is frowning, is serious,
    does: ~glowers, ~shows no sign of amusement
    clause: {her} expression is serious, {her} face is neutral, {her} expression is neutral,
    clause: {her} face is serious, ~there is no grin on {her} face

mouth_open=true
    adj: open-mouthed, ~openmouthed
    post: with {her} mouth open, with open mouth, with parted lips, with lips apart,
    post: ~with {her} lips ajar, ~with {her} mouth ajar
    pred: opening {her} mouth, showing {her} teeth,
    pred: talking, speaking, shouting, singing, yawning, screaming, in the middle of talking,
    pred: ~hollering, ~mid-sentence
    has: an open mouth, parted lips, mouth open, visible teeth, lips parted, mouth slightly open,
    has: teeth showing, ~mouth agape, ~slightly opened lips,
    has: teeth visible, lips open, open mouth, a wide open mouth, ~a gaping mouth
    does: shows {her} teeth, opens {her} mouth, ~parts {her} lips,
    does: speaks, talks, shouts, sings, is talking, ~hollers
    clause: {her} mouth is open, {her} lips are parted, {her} teeth are visible,
    clause: ~{her} mouth is ajar
mouth_open=false
    post: with {her} mouth closed, with closed mouth, with closed lips, with {her} lips together,
    post: with {her} mouth shut, ~with sealed lips
    pred: ~showing no teeth,
    pred: keeping {her} mouth shut, not showing {her} teeth, ~silent with tight lips
    has: a closed mouth, mouth closed, closed lips, lips closed, mouth shut, ~sealed lips,
    has: ~lips pressed together,
    has: lips shut, lips together, pursed lips, a shut mouth, no teeth showing, ~zipped lips
    does: keeps {her} mouth closed, keeps {her} lips closed, ~shows no teeth
    clause: {her} mouth is closed, {her} lips are closed, {her} mouth is shut,
    clause: ~{her} lips are sealed

hair_color=black
    hair: black, black, jet black, jet-black, raven, dark black, deep black, raven-black,
    hair: pure black, black colored, very black, ~ebony, ~inky, ~coal-black,
    hair: midnight black, ink black, black as coal, blackish, ~onyx
    adj: black-haired, black haired, raven-haired, jet-black-haired, ~ebony-haired
    clause: {her} hair is black, {her} hair is jet black, {her} hair color is black,
    clause: ~{her} hair is ebony
    has: black hair, ~hair like a raven
hair_color=black, brown
    hair: dark, dark colored, very dark, ~darkish
    adj: dark-haired, dark haired, ~dark-headed
    has: dark hair
    clause: {her} hair is dark, {her} hair is of a dark color
hair_color=brown
    hair: brown, brown, brunette, chestnut, brownish, medium brown, warm brown, coffee brown,
    hair: brown colored, chocolate brown, ~chestnut-brown, ~hazel-brown,
    hair: dark brown, light brown, chocolate, hazel, caramel brown, ash brown, mousy brown,
    hair: dark brown, golden brown, nut brown, chocolate-brown, ~mahogany, ~mocha, ~walnut
    adj: brown-haired, brown haired, brunette, chestnut-haired, ~brown-headed
    clause: {her} hair is brown, {her} hair color is brown, ~{her} hair is a shade of brown
    has: brown hair, dark brown hair, ~hair the color of chestnuts
hair_color=brown, red
    hair: auburn, reddish-brown, reddish brown, brownish red, red-brown, ~russet
    adj: auburn-haired, ~russet-haired
hair_color=blond
    hair: blond, blonde, fair, golden, blond, light blond, yellow, light, ~flaxen, ~honey-blond,
    hair: ~platinum blond, ~sandy, ~straw-colored,
    hair: dirty blond, ash blond, golden blond, platinum, honey, pale blond, bleached,
    hair: bleached blond,
    hair: dark blond, blondish, ~wheat-colored, ~butterscotch
    adj: blond, blonde, fair-haired, blond-haired, golden-haired, blonde-haired, ~flaxen-haired,
    adj: ~towheaded
    clause: {her} hair is blond, {her} hair is blonde, {her} hair color is blond,
    clause: ~{her} locks are flaxen
    has: blond hair, blonde hair, fair hair, golden blond hair, ~hair like straw
hair_color=blond, red
    hair: strawberry blond, strawberry-blond, ~strawberry-tinted
hair_color=red
    hair: red, ginger, orange, reddish, bright red, red, copper, ginger red, ~copper-red, ~fiery,
    hair: ~carroty, ~rust-colored
    adj: red-haired, ginger, red haired, redheaded, ginger-haired, red-headed, ~flame-haired
    clause: {her} hair is red, {her} hair is ginger, {her} hair color is red, ~{her} hair is fiery
hair_color=gray
    hair: gray, white, silver, graying, greyish, grayish, whitish, white-gray, gray colored, gray,
    hair: silvery, salt-and-pepper, ~hoary, ~snow-white, ~steel-gray, ~silver-gray,
    hair: salt and pepper, grizzled, light gray, silver-white, ash gray, white, ~pewter
    adj: gray-haired, white-haired, silver-haired, gray haired, white haired, graying, ~gray-headed,
    adj: ~hoary-headed,
    adj: grizzled, ~silver-maned
    pred: going gray, ~turning gray
    clause: {her} hair is gray, {her} hair has turned gray, {her} hair is white,
    clause: ~{her} locks are gray
    has: gray hair, white hair, gray streaks, ~a head full of silver
hair_color=other
    hair: dyed, colored, colorful, unnaturally colored, brightly dyed, ~unusual-colored,
    hair: ~artificially colored,
    hair: pink, blue, green, purple, violet-dyed, rainbow-colored, ~lilac, ~neon
    has: dyed hair, colored hair, hair of an unusual color, hair dyed in a bright color,
    has: pink hair, blue hair, purple hair, green hair, ~hair in rainbow shades
    clause: {her} hair is dyed, {her} hair is colored, ~{her} hair has an unnatural color

hair_length=short
    hair: short, short cut, cropped, short, close-cropped, short-cut, ~close-cut, ~trimmed,
    hair: very short, buzzed, close cropped, short-cropped, ~boyishly short
    adj: short-haired, short haired, ~crop-haired
    has: a short haircut, short hair, a short hairstyle, hair cut short, ~a short hairdo,
    has: ~a short trim,
    has: a buzz cut, a crew cut, a pixie cut, a military haircut, buzz cut, crew cut, pixie cut,
    has: a very short haircut, ~a brush cut, ~a short-back-and-sides
    does: wears {her} hair short, has {her} hair cut short, ~keeps {her} hair short
    clause: {her} hair is short, {her} hair is cut short, {her} haircut is short,
    clause: ~{her} hairdo is short
hair_length=medium
    hair: medium-length, shoulder-length, medium length, shoulder length, mid-length, chin-length,
    hair: medium long, ~jaw-length, ~neck-length,
    hair: shoulder-long, half-long, medium-long, collar-length, ~clavicle-length
    has: hair down to {her} shoulders, a medium haircut, hair of medium length,
    has: ~hair brushing {her} shoulders, ~hair reaching {her} shoulders,
    has: shoulder-length hair, medium-length hair, a lob, ~hair as long as {her} neck
    clause: {her} hair reaches {her} shoulders, {her} hair is of medium length,
    clause: {her} hair is shoulder-length, ~{her} hair touches {her} shoulders
hair_length=medium given gender=female
    has: a bob, a bob haircut, a bob cut, ~a bobbed cut,
    has: bob, a bob hairstyle, a long bob, ~a pageboy bob
hair_length=long
    hair: long, very long, long, flowing, long flowing, ~waist-length, ~lengthy,
    hair: waist length, long loose, really long, ~hip-length
    adj: long-haired, long haired, ~lengthy-haired
    has: long hair, hair past {her} shoulders, hair falling over {her} shoulders, a long hairstyle,
    has: ~a mane of hair, ~hair cascading down,
    has: hair down to {her} waist, hair down {her} back, a long ponytail, long braids, a long braid,
    has: a long mane, long tresses, ~Rapunzel hair
    does: wears {her} hair long, has let {her} hair grow long, ~lets {her} hair flow down
    clause: {her} hair is long, {her} hair falls past {her} shoulders, {her} hair is very long,
    clause: ~{her} hair flows down {her} back
hair_length=bald
    adj: bald, bald-headed, bald headed, hairless, shaven-headed, ~baldheaded,
    adj: shaved-headed, completely bald, ~chrome-domed
    pred: bald, completely bald, totally bald, ~bald as an egg,
    pred: ~bald as a coot
    post: with a bald head, without hair, with no hair at all, w/o hair, ~without any hair
    has: a bald head, no hair, a shaved head, no hair on {her} head, a shaven head, ~a bare scalp,
    has: ~a bald pate, ~a smooth scalp,
    has: no hair left, a bald skull, a hairless head, shaved head, ~a cue-ball head
    does: has no hair, is bald, ~has lost all {her} hair
    clause: {her} head is bald, {her} head is shaved, ~{her} scalp is bare
hair_length=hidden & hat=true
    has: hair hidden under a hat, {her} hair under a hat, hair tucked under a cap,
    has: {her} hair covered by a hat, ~hair tucked into a beanie, ~hair stuffed under a hat,
    has: all {her} hair under a headscarf, ~no hair peeking out under the hat
    clause: {her} hair is hidden under a hat, a hat covers {her} hair, a hat hides {her} hair,
    clause: ~{her} hair is concealed by a hat
hair_length=hidden
    has: hidden hair, covered hair, hair covered, hair not visible, ~no hair in sight,
    has: ~concealed hair
    post: with covered hair, with {her} hair covered, with {her} hair hidden, ~with no hair showing
    clause: {her} hair is hidden, {her} hair is covered, you can't see {her} hair,
    clause: {her} hair is not visible, ~{her} hair can't be seen

hair_length=short, bald given gender=male
    adj: balding, ~thin on top
    has: a receding hairline, thinning hair, a bald spot, receding hair, ~a receding brow
hair_texture=straight
    hair: straight, straight, smooth, sleek, very straight, ~poker-straight, ~uncurled,
    hair: flat, lank, pin-straight, ironed, ~stick-straight
    adj: straight-haired, straight haired, ~sleek-haired
    clause: {her} hair is straight, {her} hair is smooth and straight, {her} hair has no waves,
    clause: ~{her} hair hangs straight
    has: straight hair, smooth hair, ~hair as straight as a ruler
hair_texture=wavy
    hair: wavy, wavy, softly wavy, loosely wavy, slightly wavy, ~tousled wavy, ~undulating,
    hair: wavy-looking, slightly waved, beachy, ~rippling
    adj: wavy-haired, wavy haired, ~wave-haired
    has: waves in {her} hair, wavy hair, loose waves, soft waves, ~hair falling in waves,
    has: beach waves, gentle waves, slightly wavy hair, ~a wave in {her} hair
    clause: {her} hair is wavy, {her} hair is slightly wavy, ~{her} hair falls in waves
hair_texture=curly
    hair: curly, curly, very curly, curled, tightly curled, frizzy, ~coiled, ~kinky, ~corkscrew,
    hair: afro, tightly curly, super curly, ringleted, ~spiralling
    adj: curly-haired, curly haired, curly-headed, ~frizzy-haired
    has: curls, curly hair, lots of curls, frizzy hair, tight curls, a curly hairstyle, ~ringlets,
    has: ~a head of curls, ~corkscrew curls,
    has: an afro, curls everywhere, big curls, a curly mop, afro hair,
    has: ~a corkscrew mop
    clause: {her} hair is curly, {her} hair is full of curls, {her} hair curls,
    clause: ~{her} hair is in ringlets
hair_texture=wavy, curly
    has: hair that is not straight, ~hair with some curl

hair_length=short & hair_texture=straight
    has: spiky hair, a spiky haircut, ~a spiky crop
bangs=true
    has: bangs, a fringe, hair bangs, bangs over {her} forehead, hair over {her} forehead,
    has: a fringe of hair, front bangs, hair on {her} forehead, bangs covering {her} forehead,
    has: ~a forehead fringe, ~hair falling onto {her} brow,
    has: side-swept bangs, straight bangs, a long fringe over {her} forehead, a front fringe,
    has: hair hanging over {her} forehead, bang, ~curtain bangs
    does: has bangs, has a fringe, wears bangs, ~sports bangs, ~sports a fringe
    clause: {her} hair covers {her} forehead, {her} bangs cover {her} forehead,
    clause: {her} hair falls over {her} forehead, ~{her} fringe hides {her} brow
    adj: ~fringed
bangs=false
    has: no bangs, no fringe, no hair on the forehead, an open forehead, ~a bare brow,
    has: ~an uncovered forehead,
    has: hair combed back, slicked-back hair, hair pulled back, hair swept back, a free forehead,
    has: a visible forehead, ~a clear forehead
    post: without bangs, without a fringe, w/o bangs, ~lacking bangs
    does: has no bangs, doesn't have bangs, does not have a fringe, has no fringe, ~lacks bangs
    clause: {her} forehead is free, {her} forehead is visible, ~{her} brow is uncovered

beard=full, goatee
    adj: bearded, bearded, ~whiskered, ~unshaved
    has: a beard, beard, facial hair, ~some beard, ~a beard on {her} chin,
    has: a groomed beard, facial beard, a nice beard, a chin with a beard, ~a manly beard
    does: has a beard, has grown a beard, wears a beard, ~sports a beard
    clause: {her} chin is bearded, ~there is a beard on {her} face
beard=full
    adj: fully bearded, full-bearded, heavily bearded, ~bushy-bearded,
    adj: thickly bearded, ~shaggy-bearded
    has: a full beard, a full beard, a thick beard, a full thick beard, a large beard, a big beard,
    has: a bushy beard, full beard, a beard and mustache, a heavy beard, a beard and moustache,
    has: ~a dense beard, ~full facial hair, ~a lumberjack beard,
    has: a long beard, a very full beard, a hipster beard, a huge beard, a Santa beard,
    has: ~a luxuriant beard
    does: has a full beard, has a thick beard, wears a full beard, ~sports a full beard
    clause: {her} beard is full, {her} beard is thick, ~{her} beard is dense
beard=goatee
    attr: goateed
    has: a goatee, a goatee, goatee, a chin beard, a short chin beard, a goatee on {her} chin,
    has: a goatee beard, a small beard on {her} chin, a beard on the chin, ~a chin tuft,
    has: ~a Van Dyke beard,
    has: a pointed beard on {her} chin, a small goatee, ~a soul patch, ~a musketeer beard
    does: has a goatee, wears a goatee, has a small chin beard, ~sports a goatee
    clause: {her} beard is a goatee, ~{her} beard grows only on {her} chin
beard=stubble
    adj: stubbly, unshaven, stubbled, ~scruffy, ~bristly,
    adj: lightly stubbled, ~bewhiskered lightly
    pred: unshaven, not shaved, badly shaved, ~in need of a shave
    has: stubble, a stubble, light stubble, a stubble beard, a five o'clock shadow, some stubble,
    has: a 5 o'clock shadow, a three-day beard, ~designer stubble, ~bristles, ~a day's growth,
    has: a stubbly beard, a short stubble, a stubbly chin, a bit of stubble, a shadow of a beard,
    has: ~a few days of growth
    does: has stubble, has not shaved, hasn't shaved, ~has not shaved for days
    clause: {her} face is unshaven, {her} chin is stubbly, ~{her} jaw is bristly
beard=mustache
    adj: mustached, mustachioed, moustached, ~moustachioed
    has: a mustache, a moustache, mustache, moustache, only a mustache, a mustache but no beard,
    has: a mustache on {her} upper lip, ~a tash, ~a 'stache, ~hair on {her} upper lip,
    has: a handlebar mustache, a thin mustache, a thick mustache, a bushy moustache, a big mustache,
    has: ~a pencil moustache, ~a walrus moustache
    does: has a mustache, has a moustache, wears a mustache, ~sports a mustache
    clause: {her} upper lip has a mustache, ~a tash covers {her} upper lip
beard=stubble, mustache, goatee, full
    has: facial hair, some facial hair, hair on {her} face, ~whiskers
    pred: not clean-shaven, not clean shaven, ~not closely shaved
    does: has facial hair, has some facial hair, ~has whiskers
    clause: {her} face has some hair, ~{her} face is not smooth-shaven
beard=none given gender=male & age=young adult, middle-aged, old
    adj: clean-shaven, clean shaven, beardless, cleanly shaven, smooth-faced, ~smooth-shaven,
    adj: ~baby-faced,
    adj: clean-shaved, non-bearded, ~whiskerless
    pred: clean-shaven, clean shaven, shaved, freshly shaved, cleanly shaved, ~freshly shaven
    does: is clean-shaven, has shaved, has no beard, ~has shaved {her} beard off
    clause: {her} face is clean-shaven, {her} face is shaved, ~{her} chin is smooth
beard=none
    has: no beard, no facial hair, no beard or mustache, no mustache, no beard and no mustache,
    has: ~no whiskers, ~not a trace of beard,
    has: no beard at all, no stubble, a smooth face without a beard, no moustache, a hairless chin,
    has: ~a shaven chin
    post: without a beard, without beard, without facial hair, w/o beard, without any facial hair,
    post: ~lacking a beard, ~without whiskers,
    post: without a mustache, without stubble, with no facial hair, with no beard,
    post: ~devoid of whiskers
    does: has no beard, doesn't have a beard, has no facial hair, does not wear a beard,
    does: ~lacks a beard
    clause: {her} face has no beard, ~there is no hair on {her} chin

glasses=eyeglasses
    attr: glasses-wearing
    adj: bespectacled, spectacled, ~four-eyed,
    adj: glasses-wearing, ~spec-wearing
    has: glasses, eyeglasses, a pair of glasses, spectacles, ~eye glasses, ~glasses on {her} nose,
    has: specs, thick glasses, round glasses, black-rimmed glasses, a pair of spectacles,
    has: nerd glasses,
    has: ~horn-rimmed frames, ~a pair of bifocals
    worn: glasses, glasses, eyeglasses, a pair of glasses, spectacles, reading glasses,
    worn: optical glasses, prescription glasses, clear glasses, ~eye glasses,
    worn: ~corrective lenses,
    worn: specs, thick glasses, round glasses, black-rimmed glasses, big glasses, rimless glasses,
    worn: a pair of specs, nerdy glasses, ~horn-rimmed frames, ~bifocals, ~pince-nez
    does: wears glasses, is wearing glasses, has glasses on, has glasses, ~sports glasses
    clause: {her} eyes are behind glasses, {her} glasses are visible,
    clause: ~there are glasses on {her} nose
glasses=eyeglasses, sunglasses
    worn: eyewear, some eyewear, ~something over {her} eyes
glasses=sunglasses
    has: sunglasses, dark glasses, shades, a pair of sunglasses, sun glasses, ~tinted glasses,
    has: ~Ray-Bans, ~black glasses,
    has: big sunglasses, aviators, cool shades, sun-glasses, ~mirrored aviators, ~sunnies
    worn: sunglasses, dark glasses, shades, sun glasses, a pair of sunglasses, dark sunglasses,
    worn: black sunglasses, ~tinted glasses, ~Ray-Bans, ~dark shades,
    worn: big sunglasses, aviators, cool shades, sun-glasses, aviator sunglasses, ~sunnies,
    worn: ~wayfarers
    does: wears sunglasses, has sunglasses on, is wearing shades, is wearing sunglasses,
    does: wears shades, has dark glasses on, ~hides behind dark lenses
    clause: {her} eyes are hidden by sunglasses, {her} eyes are covered by sunglasses,
    clause: ~dark lenses cover {her} eyes
glasses=none
    has: no glasses, no eyeglasses, no glasses on, ~no eyewear,
    has: no spectacles, no specs, no sunglasses, no sunglasses on, ~no lenses
    worn: no glasses, no eyeglasses,
    worn: no spectacles, no specs, no sunglasses, ~no lenses
    pred: not wearing glasses, not wearing any glasses, ~not using glasses
    post: without glasses, w/o glasses, without eyeglasses, ~sans glasses, ~lacking glasses,
    post: without spectacles, without specs, without any glasses, ~free of glasses
    does: doesn't wear glasses, isn't wearing glasses, has no glasses, does not wear glasses,
    does: is not wearing glasses, wears no glasses, ~goes without glasses

hat=true
    attr: hat-wearing, ~hatted, ~behatted
    has: a hat, a hat on, a cap, a hat on {her} head, a beanie, a cap on {her} head,
    has: something on {her} head, ~a piece of headgear, ~a head covering, ~a woolly hat,
    has: a baseball cap, a straw hat, a cowboy hat, a hood, a headscarf, a knitted hat, a helmet,
    has: a beret, ~a fedora, ~a top hat
    worn: a hat, a hat, a cap, headwear, a beanie, some kind of hat, a winter hat, some hat,
    worn: a baseball cap, a hat or cap, ~headgear, ~a head covering, ~a bonnet, ~a woolly hat,
    worn: a straw hat, a cowboy hat, a hood, a headscarf, a knitted hat, a helmet, a beret,
    worn: a bandana,
    worn: a turban, a wool cap, a big hat, a sun hat, a hat on {her} head, ~a fedora, ~a top hat,
    worn: ~a sombrero, ~a trilby
    does: wears a hat, is wearing a hat, has a hat on, wears a cap, has a cap on, ~dons a hat,
    does: ~sports a hat,
    does: wears a beanie, wears a helmet, is wearing a cap, has a hood on,
    does: ~tops it off with a fedora
    clause: {her} head is covered, there is a hat on {her} head, a hat covers {her} head,
    clause: {her} head has a hat on, ~{her} head is covered by headgear
    adj: capped, ~hooded
hat=false
    adj: hatless, bareheaded, bare-headed, ~capless
    has: no hat, no cap, no hat on, nothing on {her} head, no headwear, ~no headgear,
    has: ~a hatless head,
    has: no headscarf, no hood, no beanie, a bare head, an uncovered head, ~no lid
    worn: no hat, no cap, ~no headgear,
    worn: no headwear, no beanie, ~no fedora
    pred: not wearing a hat, not wearing any hat, hatless, ~not wearing headgear
    post: without a hat, without hat, without a cap, w/o hat, ~sans hat, ~minus a hat,
    post: without a beanie, without any hat, without headwear, ~lidless
    does: doesn't wear a hat, isn't wearing a hat, has no hat, wears no hat, does not wear a hat,
    does: ~goes without a hat
    clause: {her} head is uncovered, ~there is no headgear on {her} head

earrings=true
    has: earrings, earrings, an earring, ear rings, a pair of earrings, jewelry in {her} ears,
    has: rings in {her} ears, ~ear jewelry, ~pierced ears with jewelry,
    has: hoop earrings, stud earrings, pearl earrings, gold earrings, dangling earrings,
    has: silver earrings,
    has: studs in {her} ears, long earrings, ~drop earrings
    worn: earrings, earrings, ear rings, a pair of earrings, visible earrings, pretty earrings,
    worn: ~ear jewelry, ~ear studs, ~eardrops,
    worn: hoop earrings, stud earrings, pearl earrings, gold earrings, dangling earrings, hoops,
    worn: silver earrings, big earrings, ~drop earrings, ~ear cuffs
    does: wears earrings, is wearing earrings, has earrings on, has earrings,
    does: has earrings in {her} ears, ~sports earrings, ~adorns {her} ears
    clause: there are earrings in {her} ears, you can see {her} earrings,
    clause: {her} earrings are visible, ~jewelry hangs from {her} ears
earrings=false
    has: no earrings, no ear rings, no earring, bare ears, ~no ear jewelry, ~unadorned ears,
    has: nothing in {her} ears, no ear jewellery, no studs in {her} ears, ~jewel-free ears
    worn: no earrings, ~no ear jewelry
    pred: not wearing earrings, not wearing any earrings, ~not sporting earrings
    post: without earrings, w/o earrings, without any earrings, ~sans earrings, ~minus earrings,
    post: without ear rings, with no earrings, ~devoid of earrings
    does: doesn't wear earrings, isn't wearing earrings, has no earrings, wears no earrings,
    does: does not wear earrings, ~goes without earrings

makeup=true
    adj: made-up, ~dolled-up
    pred: wearing makeup, in makeup, ~all made up, ~dolled up
    post: with lipstick on
    has: makeup, lipstick, make-up on, makeup on, lipstick and makeup, a made-up face,
    has: visible makeup, ~painted lips, ~cosmetics on {her} face,
    has: red lipstick, pink lipstick, red lips, a lot of makeup, eyeliner, strong makeup,
    has: lipstick on {her} lips, heavy eyeliner, ~war paint, ~a full face of slap
    worn: makeup, lipstick, make-up, make up, visible makeup, lipstick and makeup, eye makeup,
    worn: heavy makeup, ~cosmetics, ~lip gloss, ~mascara,
    worn: red lipstick, pink lipstick, eyeliner, a lot of makeup, light makeup, bright lipstick,
    worn: lots of makeup, ~war paint, ~foundation
    does: wears makeup, is wearing makeup, wears lipstick, has makeup on, has lipstick on,
    does: is wearing make-up, ~uses cosmetics
    clause: {her} face is made up, you can see {her} makeup, {her} lips are painted,
    clause: ~{her} face is painted
makeup=false
    has: no makeup, no make-up, no lipstick, no make up, no makeup on, a natural face,
    has: ~no cosmetics, ~a bare face,
    has: a face without makeup, no make-up on, a face with no makeup, natural look,
    has: ~an unpainted face
    worn: no makeup, no make-up, no lipstick, ~no cosmetics
    pred: not wearing makeup, not wearing make-up, not wearing any makeup, ~not made up
    post: without makeup, without make-up, w/o makeup, without lipstick, ~sans makeup, ~makeup-free,
    post: with no makeup, without any makeup, without any make-up, ~au naturel
    does: doesn't wear makeup, isn't wearing makeup, wears no makeup, isn't wearing any make-up,
    does: has no makeup on, does not wear makeup, ~uses no cosmetics, ~goes without makeup

skin=light
    adj: pale, fair-skinned, light-skinned, pale-skinned, light skinned, fair skinned,
    adj: white-skinned, ~fair-complexioned, ~light-complexioned,
    adj: white, Caucasian, very pale, light-colored, fair, ~pallid, ~lily-white
    has: pale skin, fair skin, light skin, white skin, a pale face, a light skin tone,
    has: light skin color, a fair complexion, ~a light complexion, ~porcelain skin, ~a pallid face,
    has: ivory skin, very pale skin, whitish skin, a white face, fair complexion, ~milky skin
    clause: {her} skin is pale, {her} skin is light, {her} skin is fair, {her} face is pale,
    clause: ~{her} complexion is light
skin=medium
    adj: tan, tanned, olive-skinned, tan-skinned, brown-skinned, olive skinned, ~tawny, ~sun-tanned,
    adj: ~swarthy,
    adj: suntanned, lightly tanned, tanned brown, bronze-skinned, ~sun-kissed
    has: tan skin, olive skin, tanned skin, medium skin, a medium skin tone, a tan, brown skin,
    has: a tanned face, medium skin tone, ~an olive complexion, ~tawny skin, ~bronzed skin,
    has: a suntan, a tanned complexion, bronze skin, light brown skin, golden-brown skin,
    has: ~a sunbaked face
    clause: {her} skin is tan, {her} skin is olive, {her} skin is tanned, {her} skin tone is medium,
    clause: ~{her} complexion is olive
skin=dark
    adj: dark-skinned, Black, dark skinned, black, dark-skinned, ~dark-complexioned, ~ebony-skinned,
    adj: African American, African-American, black-skinned, ~chocolate-skinned
    has: dark skin, a dark skin tone, black skin, deep brown skin, very dark skin, dark skin color,
    has: ~a dark complexion, ~ebony skin, ~deep skin,
    has: dark brown skin, chocolate skin, a dark face, ~skin like ebony
    clause: {her} skin is dark, {her} skin is black, {her} skin is deep brown,
    clause: ~{her} complexion is dark
skin=medium, dark
    pred: not pale, ~anything but pale
    clause: {her} skin is not light, ~{her} skin isn't fair

chubby=true
    adj: chubby, plump, round-faced, chubby-cheeked, fat, overweight, heavy, heavyset, full-faced,
    adj: round faced, ~pudgy, ~stout, ~tubby,
    adj: obese, big, stocky, fleshy, thick, well-fed, large, rather fat, big-cheeked, ~portly,
    adj: ~rotund
    pred: a bit overweight, a little chubby, ~on the heavy side,
    pred: on the chubby side, somewhat overweight, ~carrying a few extra pounds
    has: a round face, chubby cheeks, a chubby face, full cheeks, a full face, a plump face,
    has: a double chin, a fat face, round cheeks, ~a pudgy face, ~a moon face, ~puffy cheeks,
    has: a big face, a wide face, plump cheeks, fat cheeks, a chubby look, ~jowls
    does: has chubby cheeks, looks overweight, has a round face, ~carries some extra weight,
    does: is a bit chubby, is overweight, is fat, ~weighs too much
    clause: {her} face is round, {her} cheeks are chubby, {her} face is chubby,
    clause: {her} cheeks are full, ~{her} face is pudgy
chubby=false
    adj: slim, slender, thin-faced, slim-faced, ~lean, ~skinny,
    adj: thin, slim-looking, slightly built, ~gaunt, ~willowy
    pred: not chubby, not fat, not overweight, ~not at all plump, ~not pudgy
    has: a slim face, a thin face, a slender face, no chubby cheeks, no double chin, ~a lean face,
    has: ~a narrow face,
    has: hollow cheeks, thin cheeks, a slim build, a bony face, ~sunken cheeks
    does: isn't chubby, is not fat, isn't overweight, ~isn't plump
    clause: {her} face is slim, {her} face is not round, {her} face is thin, ~{her} face is lean

thick_brows=true
    adj: thick-browed, bushy-browed, ~beetle-browed
    has: thick eyebrows, bushy eyebrows, thick brows, heavy eyebrows, big eyebrows, bold eyebrows,
    has: strong eyebrows, dark thick eyebrows, full eyebrows, strong brows, heavy brows,
    has: ~dense eyebrows, ~prominent brows, ~bushy brows,
    has: very thick eyebrows, thick dark eyebrows, wide eyebrows, a unibrow, hairy eyebrows,
    has: bushy brow hair, pronounced eyebrows, ~caterpillar eyebrows
    does: has bushy eyebrows, has thick eyebrows, ~sports thick eyebrows
    clause: {her} eyebrows are thick, {her} eyebrows are bushy, {her} brows are thick,
    clause: {her} eyebrows are heavy, ~{her} brows are prominent
thick_brows=false
    has: thin eyebrows, thin brows, fine eyebrows, no thick eyebrows, eyebrows that are not thick,
    has: no bushy eyebrows, light eyebrows, ~sparse eyebrows, ~delicate brows,
    has: plucked eyebrows, narrow eyebrows, thin plucked eyebrows, ~pencil-thin eyebrows
    post: without thick eyebrows, without bushy eyebrows, ~lacking thick brows
    does: doesn't have thick eyebrows, has thin eyebrows, does not have bushy eyebrows,
    does: ~lacks thick brows
    clause: {her} eyebrows are not thick, {her} eyebrows are thin, {her} eyebrows aren't bushy,
    clause: ~{her} eyebrows are sparse

pose=front
    pred: facing the camera, looking straight ahead, facing forward, looking at the camera,
    pred: looking straight at the camera, facing front, looking directly at the camera, facing us,
    pred: looking forward, looking at the viewer, ~looking into the lens, ~facing the viewer,
    pred: ~facing straight on,
    pred: staring at the camera, looking at us, looking towards the camera,
    pred: facing the camera directly,
    pred: turned to the camera, looking straight, looking into the camera, ~squarely facing the lens
    post: seen from the front, front view, in front view, frontal view, looking front,
    post: from the front, frontal, ~head-on, ~en face,
    post: with {her} face to the camera, straight view, face forward, ~full-face
    does: looks straight ahead, faces the camera, looks at the camera, faces forward, is facing us,
    does: looks into the camera, ~looks into the lens, ~faces the viewer,
    does: looks at us, looks straight at the camera, stares at the camera, ~meets our eyes
    clause: {her} face is turned to the camera, {her} head is straight,
    clause: ~{her} head faces straight on
each pose=left, right
    pred: looking {value}, looking to the {value}, facing {value}, turned to the {value},
    pred: facing to the {value}, looking to the {value} side, turned {value}, facing the {value},
    pred: turning to the {value}, turned slightly {value}, ~gazing off to the {value},
    pred: ~angled to the {value}, ~facing the {value} edge of the picture,
    pred: looking off to the {value}, looking towards the {value}, looking to {her} {value},
    pred: facing towards the {value}, looking {value} of the camera, ~peering to the {value}
    post: with {her} head turned {value}, {value} facing, ~{value}wards,
    post: {value} profile, head turned {value}, seen turned to the {value},
    post: ~with {her} nose to the {value}
    does: looks {value}, looks to the {value}, faces {value}, turns {her} head to the {value},
    does: is turned to the {value}, ~gazes off to the {value},
    does: looks towards the {value}, is looking {value}, is facing {value}, ~peers to the {value}
    clause: {her} head is turned to the {value}, {her} face is turned {value},
    clause: {her} nose points to the {value}, ~{her} head is angled to the {value}
pose=left, right
    pred: looking to the side, turned to the side, looking away, looking sideways,
    pred: turned away slightly, not facing the camera, looking away from the camera,
    pred: ~glancing sideways, ~gazing off-camera,
    pred: looking over {her} shoulder, in profile, turned sideways, not looking at the camera,
    pred: looking off camera, ~facing elsewhere
    post: in three-quarter view, side view, from the side, three-quarter view, ~semi-profile,
    post: ~at an angle,
    post: in profile, profile view, with {her} head turned, in side view, ~in half profile
    does: looks to the side, looks away, doesn't look at the camera, is turned sideways,
    does: ~gazes off-camera
    clause: {her} head is turned to the side, {her} face is turned away, ~{her} head is at an angle

each background=white, black, gray, brown, beige, green, blue, red, orange, yellow, pink, purple
    post: against a {value} background, on a {value} background, with a {value} background,
    post: in front of a {value} background, {value} background, on {value}, against {value},
    post: ~before a {value} backdrop, ~with a {value} backdrop,
    post: background {value}, {value} backdrop, over a {value} background,
    post: in front of a {value} backdrop, {value} in the background, {value} behind {her} head,
    post: {value}-colored background, ~set on a field of {value}
    does: is in front of a {value} background, ~poses before a {value} backdrop
    clause: the background is {value}, ~the backdrop is {value}
each background=dark, bright, plain, blurred
    post: against a {value} background, on a {value} background, with a {value} background,
    post: in front of a {value} background, {value} background, ~before a {value} backdrop,
    post: ~with a {value} backdrop,
    post: {value} backdrop, in front of a {value} backdrop, background {value},
    post: ~with all {value} behind
    does: is in front of a {value} background, ~poses before a {value} backdrop
    clause: the background is {value}, ~the backdrop is {value}
background=plain
    post: against a simple background, on a simple background, ~against an empty backdrop,
    post: empty background, with nothing behind, in front of a plain wall background,
    post: ~with no scenery
    clause: the background is simple, ~there is nothing behind
background=blurred
    post: with a blurry background, with the background out of focus, blurry background,
    post: out-of-focus background, ~with bokeh,
    post: blurry backdrop, with a blur behind, unsharp background, soft-focus background,
    post: ~with a hazy rear
    clause: the background is out of focus, ~there is bokeh behind
background=dark
    post: in the dark, in a dark place, in front of something dark, dark behind, ~in darkness,
    post: ~in gloom
    clause: it is dark behind, ~gloom lies behind
background=outdoor
    pred: outdoors, outside, in the open air, ~out of doors, ~in the great outdoors,
    pred: in nature, in a park, in a garden, on the street, in the street, in a field,
    pred: out in the open, ~on a lawn
    post: outdoor background, in an outdoor setting, outdoor, ~with an open-air backdrop,
    post: in the open, outdoor scene, outdoors in the background, outdoor photo, ~in the countryside
    does: is outdoors, stands outside, is outside, ~stands in the great outdoors
    clause: the background is outdoors, the picture was taken outside,
    clause: ~the picture was taken al fresco
background=indoor
    pred: indoors, inside, in a room, inside a room, ~inside a building,
    pred: at home, in an office, in the living room, inside a house, ~under a roof
    post: indoor background, in an indoor setting, indoor, ~in an interior,
    post: indoor scene, interior background, indoor photo, ~within four walls
    does: is indoors, is inside, is in a room, ~is inside a building
    clause: the background is indoors, the picture was taken inside, ~the backdrop is an interior
background=trees
    pred: in front of trees, in front of green leaves, ~surrounded by foliage,
    pred: in a forest, in the woods, among trees, in front of a tree, ~amid greenery
    post: with trees in the background, trees behind, against trees, ~with foliage behind,
    post: tree background, trees in the background, with leaves behind, ~with an orchard behind
    does: is in front of trees, stands in front of trees, ~stands before foliage
    clause: there are trees in the background, there are trees behind, ~there is foliage behind
background=wall
    pred: in front of a wall, in front of the wall, ~next to a wall,
    pred: leaning against a wall, by the wall, ~up against brickwork
    post: against a wall, with a wall behind, wall in the background, ~with a wall at the back,
    post: wall behind, wall background, with a wall in the background, ~in front of masonry
    does: stands in front of a wall, is in front of a wall, ~stands by a wall
    clause: there is a wall in the background, there is a wall behind, ~a wall fills the backdrop
background=sky
    pred: in front of the sky, ~under an open sky,
    pred: under the sky, before the sky, ~below the clouds
    post: against the sky, with the sky in the background, sky in the background,
    post: ~against the heavens,
    post: with the sky behind, sky background, sky behind, ~with clouds behind
    does: is in front of the sky, ~stands under an open sky
    clause: the background is the sky, you can see the sky behind, ~the heavens are behind

background=bright
    post: with light behind, in bright light, bright behind, ~in front of glare"""

# Words of the free `background` labels, and what they let a caption say.
BACKGROUND_LABELS = """
white: white
black: black
gray: gray, grey
brown: brown
beige: beige, tan, cream
green: green, greenery
blue: blue, navy
red: red, maroon
orange: orange
yellow: yellow
pink: pink
purple: purple, lavender, mauve
dark: dark, dim
bright: bright, sunny
plain: plain
blurred: blurred, blurry, blur
outdoor: outdoor, outdoors, trees, sky, foliage, leaves, garden, park, street, lawn, greenery
outdoor: bushes, hedge, field, meadow, landscape, snowy, sea, sunny
indoor: indoor, indoors, interior, room
trees: trees, foliage, leaves
wall: wall
sky: sky
"""

# What never goes together in a made-up request; faces say for themselves what goes together.
CLASHES = """
gender=female: beard
gender=male: makeup=true
age=baby, child, teen: beard
age=baby, child: makeup=true, thick_brows=true, hair_color=gray
age=baby: glasses=sunglasses, hair_length=long, earrings=true, bangs=false, makeup, thick_brows
age=child, teen: hair_length=bald, hair_color=gray
age=teen, young adult: hair_color=gray
age=old: hair_color=red
gender=female: hair_length=bald
hair_length=bald, hidden: hair_color, hair_texture, bangs
hair_length=hidden: hat=false
smile=broad: mouth_open=false
skin=dark: hair_color=blond, red
"""

NOBODY = "person, person, person, individual, human, ~human being, ~subject"
HAIR = "hair, ~locks"

# What opens a prompt; {np} is "a smiling woman with bangs". Most prompts open with nothing.
PREFIXES = """
a photo of {np}
photo of {np}
portrait of {np}
a portrait of {np}
a picture of {np}
image of {np}
picture of {np}
close-up of {np}
a close-up of {np}
headshot of {np}
an image of {np}
the face of {np}
photograph of {np}
a photograph of {np}
face of {np}
a close up photo of {np}
a realistic photo of {np}
portrait photo of {np}
a headshot of {np}
generate {np}
generate a face of {np}
show me {np}
draw {np}
i want {np}
give me {np}
create a picture of {np}
please make {np}
i would like to see {np}
a face like this: {np}
could you draw {np}
i want to see {np}
please show me {np}
portrait of my neighbor, {np}
can you show me {np}
can i have {np}
i need {np}
i'd like {np}
let me see {np}
show {np}
make {np}
create {np}
paint {np}
please draw {np}
could you make a picture of {np}
something like {np}
it should be {np}
my friend, {np}
a drawing of {np}
a painting of {np}
how about {np}
imagine {np}
the person is {np}
could you please generate {np}
please create an image of {np}
color photo of {np}
a close-up portrait of {np}
selfie of {np}
profile picture of {np}
make me a picture of {np}
can you generate {np}
photo: {np}
~snapshot of {np}
~a snap of {np}
~mugshot of {np}
~a likeness of {np}
~render {np}
~passport picture of {np}
~i'm looking for {np}
~could you depict {np}
~an avatar of {np}
~i'd love to see {np}
~would you sketch {np}
~surprise me with {np}
~picture this: {np}
~my cousin is {np}
"""

# How a description in sentences opens.
INTROS = """
This is {np}.
{np}.
There is {np}.
The photo shows {np}.
The picture shows {np}.
It is {np}.
{np}.
This is a photo of {np}.
I see {np}.
The image shows {np}.
Here is {np}.
We see {np}.
The face of {np}.
I am thinking of {np}.
A portrait of {np}.
It's {np}.
Show me {np}.
Please draw {np}.
I want to see {np}.
I would like to see {np}.
My neighbor is {np}.
You can see {np}.
The person in the picture is {np}.
In this picture there is {np}.
Yesterday I met {np}.
My friend looks like this: {np}.
The person should be {np}.
Please make me a picture of {np}.
Imagine {np}.
~Here we have {np}.
~Visualize {np}.
~What you see is {np}.
~The portrait depicts {np}.
~Pictured here is {np}.
~I once knew {np}.
~Meet {np}.
~My cousin is {np}.
"""

# What artists add at the end of a prompt; it says nothing about the face.
SUFFIXES = """
high quality
realistic
highly detailed
photorealistic
4k
hd
detailed
sharp focus
professional photo
high resolution
~hyperrealistic
~ultra detailed
~best quality
"""

TAG_PREFIXES = "portrait, photo, face, close-up, headshot, ~mugshot, ~snapshot"
SEPARATORS = {
    **{", ": 14.0, " ": 3.5, " and ": 1.0, "; ": 1.0, " + ": 0.8, " / ": 0.8, ",": 1.0, "/": 0.5},
    **{"\n": 1.0, " | ": 0.5, " - ": 0.5, " & ": 0.6, ". ": 0.5},
}

# Finite verbs whose plural ("they have") is not the singular less its s.
PLURALS = {
    "is": "are",
    "isn't": "aren't",
    "has": "have",
    "hasn't": "haven't",
    "does": "do",
    "doesn't": "don't",
    "goes": "go",
    "carries": "carry",
}

PRONOUNS = {"female": ("she", "her"), "male": ("he", "his"), None: ("they", "their")}

# Years that each age word may stand for, kept off the borders between two of them.
YEARS = {
    "baby": (2, 3),
    "child": (4, 11),
    "teen": (13, 18),
    "young adult": (21, 34),
    "middle-aged": (38, 54),
    "old": (62, 84),
}
