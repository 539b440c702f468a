"""The vocabulary of the sample world: genres with their themes, and the pieces of titles, names and reviews."""

# Genre -> its themes; each theme has a few ways to put it, so that texts about the same thing do not all read alike.
GENRES: dict[str, dict[str, tuple[str, ...]]] = {
    "mystery": {
        "locked rooms": ("a murder behind a locked door", "a body in a sealed study", "a crime that seems impossible"),
        "village sleuths": ("a retired teacher who solves crimes", "gossip in a small village", "an amateur detective"),
        "heists": ("a daring bank robbery", "a crew of clever thieves", "a stolen painting"),
    },
    "science fiction": {
        "first contact": ("signals from another star", "the first meeting with aliens", "a strange alien language"),
        "space colonies": ("settlers on Mars", "life aboard a generation ship", "a failing colony on a cold moon"),
        "thinking machines": ("an artificial mind that wakes up", "robots with feelings", "a computer that lies"),
    },
    "fantasy": {
        "dragons": ("the last dragon rider", "a dragon under the mountain", "an egg that should not hatch"),
        "magic schools": ("an academy of young wizards", "a gifted apprentice", "forbidden spells in the library"),
        "court intrigue": ("rival heirs to a throne", "spies at the royal court", "a treacherous queen"),
    },
    "romance": {
        "second chances": ("former lovers who meet again", "a marriage given another try", "an old flame back in town"),
        "enemies to lovers": ("two rivals who fall in love", "a feud that turns into a kiss", "office enemies"),
        "seaside summers": ("a summer at a beach house", "an island holiday romance", "a seaside bakery"),
    },
    "history": {
        "sea voyages": ("ships lost in the Arctic", "mutiny on a long voyage", "explorers under sail"),
        "fallen empires": ("the last years of Rome", "the ruin of a great empire", "a city under siege"),
        "wartime letters": ("letters sent home from the front", "nurses in a field hospital", "a soldier's diary"),
    },
    "horror": {
        "haunted houses": ("a house that breathes at night", "ghosts in the nursery", "a mansion nobody leaves"),
        "folk rituals": ("a harvest rite with a price", "masks in the forest", "a cult in a remote valley"),
        "sea monsters": ("something huge below the waves", "a lighthouse under attack", "divers who wake a monster"),
    },
    "travel": {
        "mountain treks": ("a long walk across high passes", "a climb without oxygen", "nights in alpine huts"),
        "street food": ("noodle stalls and night markets", "recipes begged from street cooks", "eating across Asia"),
        "slow trains": (
            "sleeper trains through the steppe",
            "a year of railway journeys",
            "strangers in a compartment",
        ),
    },
    "popular science": {
        "animal minds": ("how octopuses think", "the inner life of crows", "what whales say to each other"),
        "black holes": ("the edge of a black hole", "how stars collapse", "time near a singularity"),
        "microbes": ("the hidden world of bacteria", "germs that changed medicine", "life in a drop of water"),
    },
}
ERAS = ("a classic of the last century", "published around 2000", "a recent release")
PACES = ("slow and thoughtful", "fast and gripping", "warm and funny", "dark and unsettling")

TITLE_HEADS = (
    "The Silent", "The Last", "A Quiet", "The Hidden", "The Burning", "A Distant", "The Broken", "The Golden",
    "Beyond the", "Under the", "The Seventh", "An Ordinary", "The Glass", "The Winter", "The Forgotten", "A Borrowed",
)  # fmt: skip
TITLE_TAILS = (
    "Harbour", "Signal", "Garden", "Letter", "Mountain", "Door", "Orchard", "Map", "River", "Clock", "Island", "Mirror",
    "Lamp", "Journey", "Promise", "Archive", "Shore", "Crown", "Station", "Shadow", "Feast", "Bridge", "Tide", "Road",
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
    "A {pace} {genre} book about {first} and {second}. It also tells of {third}.",
    "{Pace} {genre}: {first}, {second}, and somewhere between them {third}.",
    "This {genre} title begins with {first}. What follows is {pace}, with {second} and {third}.",
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
