"""The vocabulary of the sample world: genres with their themes, and the pieces of titles, names and reviews."""

# Genre -> its themes; each theme has a few ways to put it, so that texts about the same thing do not all read alike.
GENRES: dict[str, dict[str, tuple[str, ...]]] = {
    "mystery": {
        "locked rooms": ("a murder behind a locked door", "a body in a sealed study", "a crime that seems impossible"),
        "village sleuths": ("a retired teacher who solves crimes", "gossip in a small village", "an amateur detective"),
        "heists": ("a daring bank robbery", "a crew of clever thieves", "a stolen painting"),
        "cold cases": ("a case reopened after thirty years", "bones under a farmhouse", "an old police file"),
        "courtrooms": ("a trial that divides a town", "a defence lawyer in doubt", "a juror with a secret"),
        "spies": ("a double agent on the run", "coded messages in a newspaper", "an embassy full of microphones"),
    },
    "science fiction": {
        "first contact": ("signals from another star", "the first meeting with aliens", "a strange alien language"),
        "space colonies": ("settlers on Mars", "life aboard a generation ship", "a failing colony on a cold moon"),
        "thinking machines": ("an artificial mind that wakes up", "robots with feelings", "a computer that lies"),
        "time travel": ("a machine that leads into the past", "a day that repeats itself", "letters from the future"),
        "ruined earth": ("survivors of a drowned world", "the last city after the drought", "seeds of a lost harvest"),
        "changed bodies": ("genes edited before birth", "memories moved to a new body", "twins grown in a laboratory"),
    },
    "fantasy": {
        "dragons": ("the last dragon rider", "a dragon under the mountain", "an egg that should not hatch"),
        "magic schools": ("an academy of young wizards", "a gifted apprentice", "forbidden spells in the library"),
        "court intrigue": ("rival heirs to a throne", "spies at the royal court", "a treacherous queen"),
        "quests": ("a fellowship on a perilous road", "a map to a lost sword", "a farm boy and a prophecy"),
        "talking beasts": ("a fox who bargains with gods", "a parliament of ravens", "a bear who was once a prince"),
        "cursed woods": ("a forest that moves at night", "a bargain with fairies", "a witch at the edge of the wood"),
    },
    "romance": {
        "second chances": ("former lovers who meet again", "a marriage given another try", "an old flame back in town"),
        "enemies to lovers": ("two rivals who fall in love", "a feud that turns into a kiss", "office enemies"),
        "seaside summers": ("a summer at a beach house", "an island holiday romance", "a seaside bakery"),
        "arranged matches": ("an engagement of convenience", "a matchmaker who errs", "a pretended fiancé"),
        "love letters": ("years of secret letters", "messages sent to a wrong number", "a pen friend never met"),
        "ranch hearts": ("a cowboy and a city doctor", "a horse farm in debt", "a rodeo and a broken heart"),
    },
    "history": {
        "sea voyages": ("ships lost in the Arctic", "mutiny on a long voyage", "explorers under sail"),
        "fallen empires": ("the last years of Rome", "the ruin of a great empire", "a city under siege"),
        "wartime letters": ("letters sent home from the front", "nurses in a field hospital", "a soldier's diary"),
        "inventors": ("rivals in the age of steam", "a workshop that lit a city", "the patent for a flying machine"),
        "plagues": ("a city shut by the plague", "doctors against cholera", "a village that closed its gates"),
        "silk roads": ("caravans across the desert", "merchants who carried spices", "a monk on the road to China"),
    },
    "horror": {
        "haunted houses": ("a house that breathes at night", "ghosts in the nursery", "a mansion nobody leaves"),
        "folk rituals": ("a harvest rite with a price", "masks in the forest", "a cult in a remote valley"),
        "sea monsters": ("something huge below the waves", "a lighthouse under attack", "divers who wake a monster"),
        "vampires": ("a count who fears the dawn", "blood missing from a clinic", "a coffin that came by ship"),
        "dolls": ("a doll that changes its face", "puppets that whisper", "a toymaker who never sleeps"),
        "infections": ("a fever that makes people walk", "a quarantine ward at night", "spores in the cellar"),
    },
    "travel": {
        "mountain treks": ("a long walk across high passes", "a climb without oxygen", "nights in alpine huts"),
        "street food": ("noodle stalls and night markets", "recipes begged from street cooks", "eating across Asia"),
        "slow trains": (
            "sleeper trains through the steppe",
            "a year of railway journeys",
            "strangers in a compartment",
        ),
        "polar winters": ("a hut in the Antarctic dark", "dog sleds over sea ice", "a winter among reindeer herders"),
        "pilgrimages": ("a thousand kilometres on foot to a shrine", "monasteries on the way", "blisters and prayers"),
        "river boats": ("down the Amazon by canoe", "a barge through old canals", "a paddle steamer up the Nile"),
    },
    "popular science": {
        "animal minds": ("how octopuses think", "the inner life of crows", "what whales say to each other"),
        "black holes": ("the edge of a black hole", "how stars collapse", "time near a singularity"),
        "microbes": ("the hidden world of bacteria", "germs that changed medicine", "life in a drop of water"),
        "sleep": ("why brains need to dream", "a laboratory for insomnia", "clocks inside our cells"),
        "number theory": ("the riddle of the primes", "proofs that took centuries", "a code that cannot be broken"),
        "deep time": ("fossils of the first fish", "how continents drift", "the day the dinosaurs died"),
    },
}  # fmt: skip
SETTINGS = (
    "a harbour town in Portugal", "the Scottish islands", "the streets of Istanbul", "a mining town in Chile",
    "the Canadian prairie", "the suburbs of Tokyo", "a valley in Kenya", "the Swiss Alps", "New Orleans", "old Prague",
    "the Australian outback", "the lakes of Finland",
)  # fmt: skip
ERAS = ("a classic of the last century", "published around 2000", "a recent release")
PACES = ("slow and thoughtful", "fast and gripping", "warm and funny", "dark and unsettling")

TITLE_HEADS = (
    "The Silent", "The Last", "A Quiet", "The Hidden", "The Burning", "A Distant", "The Broken", "The Golden",
    "Beyond the", "Under the", "The Seventh", "An Ordinary", "The Glass", "The Winter", "The Forgotten", "A Borrowed",
    "The Paper", "The Other", "Before the", "A Crooked", "The Blue", "The Stolen", "After the", "The Slow",
)  # fmt: skip
TITLE_TAILS = (
    "Harbour", "Signal", "Garden", "Letter", "Mountain", "Door", "Orchard", "Map", "River", "Clock", "Island", "Mirror",
    "Lamp", "Journey", "Promise", "Archive", "Shore", "Crown", "Station", "Shadow", "Feast", "Bridge", "Tide", "Road",
    "Window", "Ladder", "Choir", "Lantern", "Meadow", "Hour", "Storm", "Kitchen",
)  # fmt: skip
FIRST_NAMES = (
    "Ada", "Bruno", "Carla", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Liam", "Mara",
    "Nils", "Odile", "Pavel",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Bergström", "Castellan", "Duarte", "Eklund", "Fontaine", "Grady", "Hollis", "Ibarra", "Jansen", "Kovač",
    "Lindqvist", "Moreau", "Novak", "Okafor", "Petrov",
)  # fmt: skip

DESCRIPTIONS = (
    "A {pace} {genre} book about {first} and {second}. It also tells of {third}, and is set in {place}.",
    "{Pace} {genre}: {first}, {second}, and somewhere between them {third}. The scene is {place}.",
    "This {genre} title begins in {place} with {first}. What follows is {pace}, with {second} and {third}.",
)
LIKED = (
    "I loved the parts about {theme}; just what I look for in {genre}.",
    "{Theme}: I could read about nothing else. Wonderful.",
    "I always enjoy {theme}, and here it is done beautifully.",
    "Could not put it down. The chapters with {theme} are the best I have read this year.",
)
FINE = (
    "Decent {genre}. {Theme} kept me going, though it drags in the middle.",
    "Not bad. I liked {theme}, less so the rest.",
    "A fair read for anyone who enjoys {theme}.",
)
DISLIKED = (
    "Not for me. I do not care for {theme}.",
    "I gave up halfway; too much of {theme} and little else.",
    "Disappointing {genre}. {Theme} bores me.",
)
