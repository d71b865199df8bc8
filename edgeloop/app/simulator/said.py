"""What customers and delivery agents of the simulated company say: an observation, and sometimes a second sentence."""

from __future__ import annotations

import random

LANGUAGES = {"de": 0.4, "en": 0.35, "fr": 0.15, "pt": 0.1}
_SECOND = 0.6  # share with a second sentence
_FIRST: dict[str, dict[str, tuple[str, ...]]] = {
    "good": {
        "en": (
            "Right on time, thank you!", "The courier was very friendly.", "Loved that I could pick an evening slot.",
            "The parcel came inside the promised window.", "Rebooking took one tap.", "Everything arrived undamaged.",
            "The map showed exactly where the van was.", "He even carried the crate upstairs.",
            "Delivered to the neighbour as I had asked.", "The locker opened at once.",
            "The ice cream was still frozen.",
        ),
        "de": (
            "Pünktlich und freundlich, gerne wieder.", "Der Bote war sehr nett.",
            "Die Ankunftszeit stimmte auf die Minute.",
            "Das Umbuchen auf den Abend ging ganz einfach.", "Alles kam unbeschädigt an.",
            "Sehr schnelle Lieferung.", "Die Packstation hat sofort aufgemacht.", "Gut verpackt und noch kalt.",
            "Die Nachricht eine Stunde vorher war sehr praktisch.", "Beim Nachbarn abgegeben, genau wie gewünscht.",
        ),
        "fr": (
            "Livraison rapide, merci.", "Le livreur était très aimable.", "Colis arrivé à l'heure prévue.",
            "J'ai pu changer de créneau en un clic.", "Le suivi en direct est très pratique.",
            "Tout est arrivé en bon état.", "Le casier s'est ouvert tout de suite.",
        ),
        "pt": (
            "Entrega rápida, obrigada!", "O entregador foi muito simpático.", "Chegou dentro do prazo.",
            "Consegui reagendar para a noite sem problema.", "Acompanhei tudo no mapa em tempo real.",
            "Tudo chegou bem embalado.", "O armário abriu na hora.",
        ),
    },
    "middling": {
        "en": (
            "It was okay, a bit later than promised.", "Fine, but the map showed the wrong street.",
            "The box was slightly dented.", "The app asked twice for the same thing.",
            "Friendly, but half an hour late.",
            "Delivered, though not to the door I had named.", "One item was replaced, I can live with it.",
        ),
        "de": (
            "Das Paket war etwas eingedrückt.", "Kam an, aber eine halbe Stunde später als angekündigt.",
            "Ganz okay, die App braucht zu lange zum Laden.", "Der Bote war in Eile, sonst in Ordnung.",
            "Es ging, das Zeitfenster ist aber sehr breit.", "Zwei Nachrichten hätten gereicht.",
        ),
        "fr": (
            "Correct, sans plus.", "Le colis est arrivé un peu plus tard que prévu.", "L'emballage était un peu abîmé.",
            "Livré, mais le créneau est trop large.", "L'appli demande deux fois la même chose.",
        ),
        "pt": (
            "Foi normal, um pouco depois do horário previsto.", "A caixa veio um pouco amassada.",
            "Chegou, mas a janela de horário é grande demais.", "O aplicativo pede a mesma coisa duas vezes.",
        ),
    },
    "bad": {
        "en": (
            "Far too many notifications about rebooking.", "The promised time was wrong twice.",
            "Nobody rang, and I had to rebook again.", "My parcel never arrived.", "The box was soaked and torn.",
            "The driver was rude to my mother.", "Two items were missing.", "The locker would not open.",
            "I waited the whole day for nothing.", "The app crashed when I tried to change the slot.",
            "Customer service did not answer for days.", "They charged me a fee for their own mistake.",
        ),
        "de": (
            "Zu viele Nachrichten, keine Lieferung.", "Den ganzen Tag gewartet, niemand kam.",
            "Es hat niemand geklingelt, nur eine Karte im Briefkasten.", "Das Paket war völlig zerdrückt.",
            "Zwei Artikel fehlten.", "Der Fahrer war unfreundlich.", "Die angekündigte Zeit war wieder falsch.",
            "Die Packstation ging nicht auf.", "Der Kundenservice antwortet nicht.", "Beim Umbuchen stürzt die App ab.",
            "Die Erstattung ist nach drei Wochen noch nicht da.",
        ),
        "fr": (
            "Colis non livré, encore une fois.", "J'ai attendu toute la journée pour rien.", "Le carton était écrasé.",
            "Le livreur n'a même pas sonné.", "Il manquait deux articles.", "L'heure annoncée était fausse.",
            "Trop de messages et aucune livraison.", "Le service client ne répond jamais.",
        ),
        "pt": (
            "O pacote nunca chegou.", "Esperei o dia inteiro e ninguém apareceu.", "A caixa veio toda molhada.",
            "Faltaram dois produtos.", "O entregador foi grosseiro.", "A previsão estava errada de novo.",
            "O aplicativo travou quando tentei reagendar.", "Ninguém responde no atendimento.",
        ),
    },
}  # fmt: skip
_AFTER: dict[str, dict[str, tuple[str, ...]]] = {
    "good": {
        "en": ("I will order again.", "Keep it up.", "That saved my day.", "Best delivery so far."),
        "de": ("Ich bestelle gerne wieder.", "Weiter so.", "So soll es sein.", "Vielen Dank."),
        "fr": ("Je recommande.", "Continuez comme ça.", "Parfait pour moi."),
        "pt": ("Recomendo.", "Continuem assim.", "Vou pedir de novo."),
    },
    "middling": {
        "en": ("No big deal.", "It could be better.", "Last month went more smoothly."),
        "de": ("Kein Drama.", "Das geht besser.", "Letzten Monat lief es runder."),
        "fr": ("Rien de grave.", "Peut mieux faire."),
        "pt": ("Nada grave.", "Pode melhorar."),
    },
    "bad": {
        "en": (
            "This is the second time.",
            "Never again.",
            "I had to take a day off for this.",
            "I want my money back.",
        ),
        "de": ("Das ist schon das zweite Mal.", "Nie wieder.", "Sehr ärgerlich.", "Ich bin enttäuscht."),
        "fr": ("C'est la deuxième fois.", "Plus jamais.", "Très déçu."),
        "pt": ("É a segunda vez.", "Nunca mais.", "Muito decepcionada."),
    },
}
_AGENTS = (
    "The new prompts make people call me.", "Route was clear today.", "Too many evening stops in one block.",
    "Handheld was slow after the update.", "Good week, fewer rebookings.",
    "Customers were friendly about the new slots.",
    "No parking anywhere near the old town.", "The scanner froze twice on Monday.",
    "Overtime again, the shift plan is too tight.",
    "The van was loaded in the wrong order.", "Fewer closed doors this week.", "Battery lasts the whole shift now.",
)  # fmt: skip


def customer(rng: random.Random, rating: int) -> str:
    """A remark that fits the rating (1–5), in one of four languages."""
    mood = "good" if rating >= 4 else "middling" if rating == 3 else "bad"
    language = rng.choices(list(LANGUAGES), list(LANGUAGES.values()))[0]
    first = rng.choice(_FIRST[mood][language])
    return f"{first} {rng.choice(_AFTER[mood][language])}" if rng.random() < _SECOND else first


def agent(rng: random.Random) -> str:
    """A delivery agent's remark, one sentence or two."""
    said = rng.sample(_AGENTS, 2)
    return " ".join(said) if rng.random() < _SECOND else said[0]
